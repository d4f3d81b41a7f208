"""Hands signed transactions to a node and looks after them until a block has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, notify
from kernel.lease import LeaderLease
from kernel.log import get_logger
from services.chain_gateway import store_chain, store_intents, store_transactions
from services.chain_gateway.block_content import mined
from services.chain_gateway.domain.confirmation import (
    DROPPED_STATUSES,
    IntentState,
    TransactionState,
    final_burn_height,
    moved,
)
from services.chain_gateway.domain.contract_call import raised_fee
from services.chain_gateway.domain.rejection import Remedy
from services.chain_gateway.hand_in import Answer, Rejection, hand_in
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.signing import SigningPolicy
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import ChainTransaction

_LOOK_SECONDS: Final = 3.0
_LONGEST_SECONDS: Final = 30.0
_MOST_SENDS_FOR_USERS: Final = 50
_PENDING: Final = "pending"


class Broadcaster:
    """Sends, sends again, raises fees; `stuck_seconds` is how long a mempool may keep a transaction waiting."""

    def __init__(
        self,
        database: Database,
        nodes: NodePool,
        state: StateFollower,
        policy: SigningPolicy,
        confirmations: int,
        stuck_seconds: float,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._state = state
        self._policy = policy
        self._confirmations = confirmations
        self._stuck = dt.timedelta(seconds=stuck_seconds)

    async def attend(self, rows: Sequence[ChainTransaction], lease: LeaderLease) -> None:
        """Does what is due for transactions that are in no block: look for those that left, send the others."""
        left = [row for row in rows if row.state in (TransactionState.ACCEPTED, TransactionState.PENDING)]
        records = await self._nodes.ask(lambda node: node.transactions([row.txid for row in left])) if left else {}
        for row in rows:
            async with self._database.transaction() as session:
                await lease.check(session)
            if row.txid in records:
                await self._looked(row, records[row.txid])
            else:
                await self._send_again(row)

    async def send(self, row: ChainTransaction, *, first: bool) -> Rejection | None:
        """Hands in a stored transaction and stores what the node said; `first`: no node can have seen it before."""
        answer = await hand_in(self._nodes, row)
        await self._conclude(row, answer, first)
        return answer.rejection

    async def send_all(self, rows: Sequence[ChainTransaction]) -> bool:
        """Hands in transactions of one key that no node has seen, in the order of their nonces.

        Stops at the first that is not taken, so that no gap can arise: those after it are taken back, their intents
        queued again. Whether all were taken.
        """
        for index, row in enumerate(rows):
            answer = await hand_in(self._nodes, row)
            if not answer.taken:
                await self._accept(rows[:index])
                async with self._database.transaction() as session:
                    await store_intents.take_back(session, rows[index + 1 :])
                await self._conclude(row, answer, first=True)
                return False
        await self._accept(rows)
        return True

    async def _accept(self, rows: Sequence[ChainTransaction]) -> None:
        async with self._database.transaction() as session:
            due_time = wall_now() + dt.timedelta(seconds=_LOOK_SECONDS)
            await store_transactions.accept(session, [row.txid for row in rows], due_time)

    async def _conclude(self, row: ChainTransaction, answer: Answer, first: bool) -> None:
        if answer.rejection is not None:
            # A node asked before the one that refused may have taken it.
            await self._rejected(row, answer.rejection, first and answer.asked == 1)
        elif answer.failure:
            await self._update(row, TransactionState.UNKNOWN, answer.failure, self._pause(row))
        else:
            await self._update(row, TransactionState.ACCEPTED, "", _LOOK_SECONDS)

    async def _send_again(self, row: ChainTransaction) -> None:
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None:
                return
            # Counted before it leaves: after a crash here the same bytes may be anywhere.
            current.sends += 1
            session.add(current)
            if current.intent_id is None and current.sends > _MOST_SENDS_FOR_USERS:
                current.state, current.reason = moved(current.state, TransactionState.DROPPED), "GIVEN_UP"
                return
        await self.send(current, first=False)

    def _pause(self, row: ChainTransaction) -> float:
        return min(_LONGEST_SECONDS, 0.5 * float(1 << min(row.sends, 6)))

    async def _update(self, row: ChainTransaction, state: TransactionState, reason: str, pause: float) -> None:
        """Stores a state unless a block has the transaction meanwhile."""
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None:
                return
            current.state, current.reason = moved(current.state, state), reason
            current.node_status = _PENDING if state in (TransactionState.ACCEPTED, TransactionState.PENDING) else ""
            current.due_time = wall_now() + dt.timedelta(seconds=pause)
            session.add(current)
            await session.flush()
            await notify(session, store_transactions.INTENT_CHANNEL)

    async def _rejected(self, row: ChainTransaction, rejection: Rejection, first: bool) -> None:
        match rejection.remedy:
            case Remedy.WAIT if row.intent_id is None and first:
                await self._never_taken(row, rejection.reason, requeue=False)
            case Remedy.WAIT:
                state = TransactionState.SIGNED if first else TransactionState.UNKNOWN
                await self._update(row, state, rejection.reason, self._pause(row))
            case Remedy.CANCEL:
                await self._never_taken(row, rejection.reason, requeue=False)
            case Remedy.FEE if row.intent_id is not None:
                await self._raise_fee(row, rejection.expected_fee_ustx, taken=not first)
            case Remedy.FEE:
                await self._never_taken(row, rejection.reason, requeue=False)
            case Remedy.NONCE:
                await self._nonce_taken(row, rejection.reason, first)

    async def _nonce_taken(self, row: ChainTransaction, reason: str, first: bool) -> None:
        record = await self._nodes.ask(lambda node: node.transaction(row.txid))
        if record is not None and record.status not in DROPPED_STATUSES:
            await self._update(row, TransactionState.PENDING, "", _LOOK_SECONDS)
            await self._note_if_mined(record)
        elif first:
            await self._never_taken(row, reason, requeue=True, floor=row.nonce + 1)
        else:
            await self._doubt(row, reason)

    async def _doubt(self, row: ChainTransaction, reason: str) -> None:
        """Another transaction has the nonce. Ours may still win by a reorganisation until that is final."""
        chain_nonce = await self._chain_nonce(row.sender)
        height = self._state.snapshot.row.burn_height
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None:
                return
            current.state, current.reason = moved(current.state, TransactionState.UNKNOWN), reason
            current.due_time = wall_now() + dt.timedelta(seconds=_LOOK_SECONDS)
            if chain_nonce <= current.nonce:
                current.doubt_burn_height = None
            elif current.doubt_burn_height is None:
                current.doubt_burn_height = height
            elif current.doubt_burn_height <= final_burn_height(height, self._confirmations):
                current.state = moved(current.state, TransactionState.REPLACED)
                if current.intent_id is not None:
                    await store_intents.end(session, current.intent_id, IntentState.CANCELLED, "NONCE_TAKEN")
            session.add(current)

    async def _chain_nonce(self, address: str) -> int:
        return (await self._nodes.ask(lambda node: node.account(address))).nonce

    async def _never_taken(self, row: ChainTransaction, reason: str, *, requeue: bool, floor: int = 0) -> None:
        """No node has this transaction or will take it: the nonce is free again."""
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            # More sends than we know of: another replica has handed it in, and a node may have it.
            if current is None or current.sends != row.sends:
                return
            current.state, current.reason = moved(current.state, TransactionState.DROPPED), reason
            session.add(current)
            await session.flush()
            if current.intent_id is None or await self._revive_sibling(session, current):
                return
            account = await store_intents.lock_account(session, current.sender)
            account.floor_nonce = max(account.floor_nonce, floor)
            session.add(account)
            await store_intents.free_nonce(session, current.intent_id)
            if requeue:
                await store_intents.requeue(session, current.intent_id)
            else:
                await store_intents.end(session, current.intent_id, IntentState.CANCELLED, reason)

    async def _revive_sibling(self, session: AsyncSession, dropped: ChainTransaction) -> bool:
        """Whether an older transaction of the same nonce may be out there: then that one is followed again."""
        assert dropped.intent_id is not None
        for sibling in await store_transactions.of_intent(session, dropped.intent_id):
            if sibling.txid != dropped.txid and sibling.state == TransactionState.REPLACED:
                sibling.state, sibling.due_time = moved(sibling.state, TransactionState.UNKNOWN), wall_now()
                session.add(sibling)
                return True
        return False

    async def _looked(self, row: ChainTransaction, record: TransactionRecord | None) -> None:
        """What a node says of a transaction that it once took."""
        if record is None or record.status in DROPPED_STATUSES:
            get_logger().warning("transaction lost", txid=row.txid, status=record.status if record else "unknown")
            await self._send_again(row)
            return
        await self._update(row, TransactionState.PENDING, "", _LOOK_SECONDS)
        await self._note_if_mined(record)
        waiting = record.status == _PENDING and wall_now() - row.create_time > self._stuck
        if waiting and row.intent_id is not None:
            await self._raise_fee(row, 0, taken=True)

    async def _note_if_mined(self, record: TransactionRecord) -> None:
        """Notes a block that was ingested before we had the transaction; any other block is still to be ingested."""
        if record.block_hash is None:
            return
        async with self._database.transaction() as session:
            state = await store_chain.lock_state(session)
            block = await store_chain.canonical_block_by_hash(session, record.block_hash)
            if state is None or block is None:
                return
            found = mined(record, block.index_hash, block.stacks_height, block.burn_height)
            await store_transactions.note_mined(session, [found])
            await store_transactions.finalize(session, final_burn_height(state.burn_height, self._confirmations))

    async def _raise_fee(self, row: ChainTransaction, at_least_ustx: int, *, taken: bool) -> None:
        """Signs the same call at the same nonce with a higher fee; both are followed, one will be mined."""
        fees = self._policy.fees
        fee = raised_fee(row.fee_ustx, max(fees.floor_ustx, at_least_ustx), fees.cap_ustx)
        if fee is None:
            await self._update(row, TransactionState(row.state), "FEE_CAP_REACHED", _LONGEST_SECONDS)
            return
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None or current.intent_id is None:
                return
            intent = await store_intents.get(session, current.intent_id)
            if intent is None or IntentState(intent.state).ended:
                return
            siblings = await store_transactions.of_intent(session, intent.id)
            if any(one.fee_ustx >= fee for one in siblings if one.nonce == current.nonce):
                return
            raised = await self._policy.sign(session, intent, current.sender, current.nonce, fee)
            session.add(raised)
            end = TransactionState.REPLACED if taken else TransactionState.DROPPED
            current.state = moved(current.state, end)
            current.reason = "FEE_RAISED"
            session.add(current)
        await self.send(raised, first=True)

"""Hands our own transactions to a node and looks after them until a block has their nonce.

Whatever was stored may be anywhere, whatever a node said of it: it is handed in again with the same bytes, replaced at
the same nonce by a higher fee, or given up; only blocks end it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database, notify
from kernel.log import get_logger
from services.chain_gateway import metrics, store_intents, store_nonces, store_transactions
from services.chain_gateway.domain.confirmation import DROPPED_STATUSES, TransactionState, moved
from services.chain_gateway.domain.rejection import MOST_REFUSALS, Remedy, waits_in_mempool
from services.chain_gateway.fee_raises import FeeRaises
from services.chain_gateway.hand_in import Answer, Rejection, hand_in
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import ChainTransaction

_LOOK_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 10.0
_REFUSED_PAUSE_SECONDS: Final = 0.5
_IN_MEMPOOL: Final = (TransactionState.ACCEPTED, TransactionState.PENDING)
_PENDING: Final = "pending"


class Broadcaster:
    """Sends, sends again, has fees raised. `stuck_blocks`: for how many Stacks blocks a mempool may hold what is next
    in line of its account before its fee is raised."""

    def __init__(
        self, database: Database, nodes: NodePool, state: StateFollower, raises: FeeRaises, stuck_blocks: int
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._state = state
        self._raises = raises
        self._stuck_blocks = stuck_blocks

    async def send_all(self, rows: Sequence[ChainTransaction]) -> bool:
        """Hands in transactions of one key that no node has seen, in the order of their nonces.

        Stops at the first that is not taken, so that no gap can arise: those after it are taken back, the highest
        nonce first, their intents queued again. Whether all were taken.
        """
        for index, row in enumerate(rows):
            answer = await hand_in(self._nodes, row)
            if not answer.taken:
                await self._accept(rows[:index])
                async with self._database.transaction() as session:
                    await store_nonces.take_back(session, rows[index + 1 :])
                await self._conclude(row, answer)
                return False
        await self._accept(rows)
        return True

    async def _accept(self, rows: Sequence[ChainTransaction]) -> None:
        if not rows:
            return
        async with self._database.transaction() as session:
            due_time = _after(_LOOK_SECONDS)
            height = self._state.snapshot.row.stacks_height
            await store_transactions.accept(session, [row.txid for row in rows], due_time, height)

    async def attend(self, rows: Sequence[ChainTransaction], chain_nonces: Mapping[str, int]) -> None:
        """Does what is due for transactions in no block: looks for those that left, sends the others.

        Nothing is due below an account's `chain_nonces`: a block has that nonce, and its finality decides.
        """
        due = [row for row in rows if row.nonce >= chain_nonces.get(row.sender, 0)]
        left = [row.txid for row in due if row.state in _IN_MEMPOOL]
        records = await self._nodes.ask(lambda node: node.transactions(left)) if left else {}
        waiting: list[ChainTransaction] = []
        by_sender: dict[str, list[ChainTransaction]] = {}
        for row in due:
            only_waits = self._only_waits(row, records, chain_nonces)
            (waiting if only_waits else by_sender.setdefault(row.sender, [])).append(row)
        await self._see_waiting(waiting)
        await asyncio.gather(
            *(self._attend_account(own, records, chain_nonces.get(sender, 0)) for sender, own in by_sender.items())
        )

    def _only_waits(
        self,
        row: ChainTransaction,
        records: Mapping[str, TransactionRecord | None],
        chain_nonces: Mapping[str, int],
    ) -> bool:
        """Whether the node has it and nothing is to be done: most rows, most of the time."""
        record = records.get(row.txid)
        at_rest = record is not None and record.status not in DROPPED_STATUSES and not row.reason
        return at_rest and not self._is_stuck(row, chain_nonces.get(row.sender, 0))

    async def _see_waiting(self, rows: Sequence[ChainTransaction]) -> None:
        if not rows:
            return
        async with self._database.transaction() as session:
            await store_transactions.see_waiting(session, [row.txid for row in rows], _after(_LOOK_SECONDS))
            if any(row.state == TransactionState.ACCEPTED for row in rows):
                await notify(session, store_transactions.INTENT_CHANNEL)

    async def _attend_account(
        self, rows: Sequence[ChainTransaction], records: Mapping[str, TransactionRecord | None], chain_nonce: int
    ) -> None:
        for row in rows:
            record = records.get(row.txid)
            if record is None or record.status in DROPPED_STATUSES:
                if row.txid in records:
                    status = record.status if record else "unknown"
                    get_logger().warning("transaction lost", txid=row.txid, status=status)
                await self._send_again(row, chain_nonce)
            else:
                await self._seen(row, record, chain_nonce)

    async def _seen(self, row: ChainTransaction, record: TransactionRecord, chain_nonce: int) -> None:
        stuck = record.status == _PENDING and self._is_stuck(row, chain_nonce)
        await self._update(row, TransactionState.PENDING, row.reason if stuck else "", _LOOK_SECONDS)
        if stuck:
            await self._raise_fee(row, 0)

    def _is_stuck(self, row: ChainTransaction, chain_nonce: int) -> bool:
        """Only what is next in line can be stuck by its fee: the others wait for it."""
        since = row.waiting_stacks_height
        height = self._state.snapshot.row.stacks_height
        return row.nonce == chain_nonce and since is not None and height - since >= self._stuck_blocks

    async def _send_again(self, row: ChainTransaction, chain_nonce: int) -> None:
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None:
                return
            session.add(current)
            if await store_transactions.has_successor(session, current):
                current.state = moved(current.state, TransactionState.REPLACED)
                return
            # Counted before it leaves: who signed it may not take it back any more.
            current.sends += 1
        await self._conclude(current, await hand_in(self._nodes, current), chain_nonce)

    async def _conclude(self, row: ChainTransaction, answer: Answer, chain_nonce: int | None = None) -> None:
        if answer.rejection is not None:
            await self._rejected(row, answer.rejection, chain_nonce)
        elif answer.failure:
            await self._update(row, TransactionState.UNKNOWN, answer.failure, _pause(row))
        else:
            await self._taken(row)

    async def _taken(self, row: ChainTransaction) -> None:
        async with self._database.transaction() as session:
            current = await store_transactions.update_open(
                session, row.txid, TransactionState.ACCEPTED, "", _after(_LOOK_SECONDS)
            )
            if current is None:
                return
            current.refusals, current.waiting_stacks_height = 0, self._state.snapshot.row.stacks_height
            session.add(current)
            if row.reason and row.intent_id is not None:
                await store_intents.explain(session, row.intent_id, "")

    async def _update(self, row: ChainTransaction, state: TransactionState, reason: str, pause: float) -> None:
        async with self._database.transaction() as session:
            current = await store_transactions.update_open(session, row.txid, state, reason, _after(pause))
            if current is not None and row.intent_id is not None and row.reason != reason:
                await store_intents.explain(session, row.intent_id, reason)

    async def _rejected(self, row: ChainTransaction, rejection: Rejection, chain_nonce: int | None) -> None:
        match rejection.remedy:
            case Remedy.WAIT:
                await self._update(row, TransactionState.UNKNOWN, rejection.reason, _pause(row))
            case Remedy.NONCE:
                await self._nonce_taken(row, rejection.reason, chain_nonce)
            case Remedy.FEE:
                await self._raise_fee(row, rejection.expected_fee_ustx)
            case Remedy.CANCEL:
                await self._refused(row, rejection.reason)

    async def _nonce_taken(self, row: ChainTransaction, reason: str, chain_nonce: int | None) -> None:
        """The node says that another transaction has the nonce. Which one, and for how long, blocks will tell."""
        await self._update(row, TransactionState.UNKNOWN, reason, _pause(row))
        if not waits_in_mempool(reason):
            return
        if row.waiting_stacks_height is None:
            async with self._database.transaction() as session:
                current = await store_transactions.lock_open(session, row.txid)
                if current is not None:
                    current.waiting_stacks_height = self._state.snapshot.row.stacks_height
                    session.add(current)
        elif chain_nonce is not None and self._is_stuck(row, chain_nonce):
            await self._raise_fee(row, 0)

    async def _refused(self, row: ChainTransaction, reason: str) -> None:
        """A node will never take it, it says. When it has said so often enough, its intent is given up."""
        async with self._database.transaction() as session:
            current = await store_transactions.update_open(
                session, row.txid, TransactionState.UNKNOWN, reason, _after(_REFUSED_PAUSE_SECONDS)
            )
            if current is None:
                return
            current.refusals += 1
            session.add(current)
            if current.refusals < MOST_REFUSALS:
                return
            current.state = moved(current.state, TransactionState.DROPPED)
            await session.flush()
            if current.intent_id is not None:
                await store_intents.give_up(session, current.intent_id, reason)
                await store_nonces.free(session, [current.intent_id])
        metrics.GIVEN_UP.inc()
        get_logger().error("given up after refusals", txid=row.txid, intent=row.intent_id, reason=reason)

    async def _raise_fee(self, row: ChainTransaction, at_least_ustx: int) -> None:
        raised = await self._raises.raise_fee(row, at_least_ustx)
        if raised is not None:
            answer = await hand_in(self._nodes, raised)
            if answer.rejection is not None and answer.rejection.remedy is Remedy.FEE:
                # Once is enough for one step; the next one starts from here.
                await self._update(raised, TransactionState.UNKNOWN, answer.rejection.reason, _FIRST_PAUSE_SECONDS)
            else:
                await self._conclude(raised, answer)


def _after(seconds: float) -> dt.datetime:
    return wall_now() + dt.timedelta(seconds=seconds)


def _pause(row: ChainTransaction) -> float:
    return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * float(1 << min(row.sends, 6)))

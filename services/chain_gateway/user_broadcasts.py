"""Hands users' signed transactions to a node, tells what it refuses, and follows them until a block has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from services.chain_gateway import store_chain, store_transactions
from services.chain_gateway.block_content import mined
from services.chain_gateway.domain.confirmation import (
    DROPPED_STATUSES,
    TransactionState,
    final_burn_height,
    moved,
)
from services.chain_gateway.domain.rejection import Remedy
from services.chain_gateway.hand_in import Rejection, hand_in
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.store_transactions import NonceUse
from services.chain_gateway.tables import ChainTransaction

_LOOK_SECONDS: Final = 3.0
_LONGEST_SECONDS: Final = 30.0
_MOST_SENDS: Final = 50


class UserBroadcasts:
    """Sends and follows what wallets signed. We cannot sign it again: what nodes will not take is dropped."""

    def __init__(self, database: Database, nodes: NodePool, confirmations: int) -> None:
        self._database = database
        self._nodes = nodes
        self._confirmations = confirmations

    async def send(self, row: ChainTransaction, *, first: bool) -> Rejection | None:
        """Hands in a stored transaction and stores what the node said; `first`: no node can have seen it before."""
        answer = await hand_in(self._nodes, row)
        if answer.rejection is not None:
            # A node asked before the one that refused may have taken it.
            await self._rejected(row, answer.rejection, first and answer.asked == 1)
        elif answer.failure:
            await self._update(row, TransactionState.UNKNOWN, answer.failure, _pause(row))
        else:
            await self._update(row, TransactionState.ACCEPTED, "", _LOOK_SECONDS)
        return answer.rejection

    async def attend(self, rows: Sequence[ChainTransaction]) -> None:
        """Does what is due for transactions in no block: looks for those that left, sends the others."""
        left = [row.txid for row in rows if row.state in (TransactionState.ACCEPTED, TransactionState.PENDING)]
        records = await self._nodes.ask(lambda node: node.transactions(left)) if left else {}
        for row in rows:
            record = records.get(row.txid)
            if record is None or record.status in DROPPED_STATUSES:
                await self._send_again(row)
            else:
                await self._seen(row, record)

    async def _send_again(self, row: ChainTransaction) -> None:
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None:
                return
            current.sends += 1
            session.add(current)
            if current.sends > _MOST_SENDS:
                current.state, current.reason = moved(current.state, TransactionState.DROPPED), "GIVEN_UP"
                return
        await self.send(current, first=False)

    async def _update(self, row: ChainTransaction, state: TransactionState, reason: str, pause: float) -> None:
        async with self._database.transaction() as session:
            due_time = wall_now() + dt.timedelta(seconds=pause)
            await store_transactions.update_open(session, row.txid, state, reason, due_time)

    async def _rejected(self, row: ChainTransaction, rejection: Rejection, first: bool) -> None:
        if rejection.remedy is Remedy.NONCE:
            record = await self._nodes.ask(lambda node: node.transaction(row.txid))
            if record is not None and record.status not in DROPPED_STATUSES:
                await self._seen(row, record)
                return
        if first or rejection.remedy in (Remedy.CANCEL, Remedy.FEE):
            await self._update(row, TransactionState.DROPPED, rejection.reason, _LONGEST_SECONDS)
        else:
            await self._update(row, TransactionState.UNKNOWN, rejection.reason, _pause(row))

    async def _seen(self, row: ChainTransaction, record: TransactionRecord) -> None:
        await self._update(row, TransactionState.PENDING, "", _LOOK_SECONDS)
        if record.block_hash is not None:
            await self._note_mined(row, record, record.block_hash)

    async def _note_mined(self, row: ChainTransaction, record: TransactionRecord, block_hash: str) -> None:
        """Notes a block that was ingested before we had the transaction; any other block is still to be ingested.

        Whose nonce it has is known from the bytes: a node's word could be about an account of ours.
        """
        async with self._database.transaction() as session:
            state = await store_chain.lock_state(session)
            block = await store_chain.canonical_block_by_hash(session, block_hash)
            if state is None or block is None:
                return
            heights = block.stacks_height, block.burn_height
            use = NonceUse(row.sender, row.nonce, row.txid, block.index_hash, *heights)
            await store_transactions.note_nonces(session, [use])
            await store_transactions.note_mined(session, [mined(record, block.index_hash, *heights)])
            await store_transactions.finalize(session, final_burn_height(state.burn_height, self._confirmations))


def _pause(row: ChainTransaction) -> float:
    return min(_LONGEST_SECONDS, 0.5 * float(1 << min(row.sends, 6)))

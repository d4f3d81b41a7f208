"""Any transaction that we or a node know: as it is now, and every change until it has ended."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database
from kernel.errors import InvalidArgument, NotFound, Unavailable
from services.chain_gateway import convert, store_chain, store_transactions
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import (
    DROPPED_STATUSES,
    OPEN_TRANSACTIONS,
    TransactionState,
    final_state,
)
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.pulse import Pulse
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.state import Snapshot, StateFollower

_TXID: Final = re.compile(r"[0-9a-f]{64}")
_LOOK_SECONDS: Final = 2.0
"""Between two looks at a node for a transaction that we do not keep ourselves."""


class TransactionWatch:
    """Serves GetTransaction and WatchTransaction."""

    def __init__(
        self, database: Database, nodes: NodePool, contracts: Contracts, state: StateFollower, pulse: Pulse
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._contracts = contracts
        self._state = state
        self._pulse = pulse

    async def get(self, txid: str) -> pb.Transaction:
        """The transaction as it is now; NotFound when neither we nor a node know it."""
        txid = _checked(txid)
        found = await self._ours(txid) or await self._of_node(txid)
        if found is None:
            raise NotFound("UNKNOWN_TRANSACTION", f"neither we nor the node know {txid}")
        return found

    async def watch(self, txid: str) -> AsyncIterator[pb.Transaction]:
        """The transaction, then each change, up to its end. One that a node forgets goes on as UNKNOWN."""
        last = await self.get(txid)
        yield last
        while TransactionState(last.state) in OPEN_TRANSACTIONS:
            found = await self._next(last)
            if found != last:
                yield found
                last = found

    async def _next(self, last: pb.Transaction) -> pb.Transaction:
        """Waits until there may be something new, and looks again."""
        beat, snapshot = self._pulse.count, await self._state.first()
        ours = await self._ours(last.txid)
        if ours is not None:
            if ours == last:
                await self._pulse.after(beat)
            return ours
        # Of a transaction that is not ours, blocks alone bring news.
        await self._state.changed(snapshot, _LOOK_SECONDS)
        try:
            found = await self._of_node(last.txid)
        except Unavailable:
            return last
        if found is None:
            found = pb.Transaction()
            found.CopyFrom(last)
            found.state, found.node_status = pb.TRANSACTION_STATE_UNKNOWN, ""
        return found

    async def _ours(self, txid: str) -> pb.Transaction | None:
        async with self._database.transaction() as session:
            row = await store_transactions.get(session, txid)
            state = await store_chain.read_state(session)
        return None if row is None else convert.transaction(row, self._contracts, state.burn_height if state else 0)

    async def _of_node(self, txid: str) -> pb.Transaction | None:
        record = await self._nodes.ask(lambda node: node.transaction(txid))
        return None if record is None else _node_transaction(record, self._state.snapshot)


def _checked(text: str) -> str:
    txid = text.removeprefix("0x").lower()
    if not _TXID.fullmatch(txid):
        raise InvalidArgument.of("txid", "expected 64 hexadecimal digits")
    return txid


def _node_transaction(record: TransactionRecord, snapshot: Snapshot) -> pb.Transaction:
    if record.status in DROPPED_STATUSES:
        state = TransactionState.DROPPED
    elif record.burn_height is not None and record.burn_height <= snapshot.final_burn_height:
        state = final_state(record.status)
    else:
        state = TransactionState.PENDING
    result = record.result()
    text = "" if result is None else render(result)
    return convert.node_transaction(record, state, text, snapshot.row.burn_height)

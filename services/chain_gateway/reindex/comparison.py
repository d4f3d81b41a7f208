"""Walks the chain from its first block and compares every stretch with the live tables, without writing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from kernel.database import Database
from kernel.errors import Aborted, FailedPrecondition
from kernel.log import get_logger
from services.chain_gateway import store_chain, store_events, store_nonces
from services.chain_gateway.block_content import read_contents
from services.chain_gateway.chain_reader import ChainReader
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.table_comparison import (
    Difference,
    DifferenceKind,
    compare_blocks,
    compare_events,
)
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_types import Block

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 1.0


@dataclass
class Report:
    """What was compared, up to which height, and every difference found."""

    through_stacks_height: int
    blocks: int = 0
    events: int = 0
    differences: list[Difference] = field(default_factory=list)


class ChainMoved(Aborted):
    """Chain or tables were reorganised while they were compared."""

    def __init__(self, stacks_height: int) -> None:
        super().__init__("CHAIN_MOVED", f"the chain moved at or below height {stacks_height} while it was compared")


class Reindex:
    """Compares the tables of a gateway, running or not, with the chain that its nodes tell."""

    def __init__(self, database: Database, nodes: NodePool, contracts: Contracts, start_stacks_height: int) -> None:
        self._database = database
        self._nodes = nodes
        self._contracts = contracts
        self._chain = ChainReader(nodes)
        self._start = start_stacks_height

    async def compare(self) -> Report:
        """Compares up to what both sides know; FailedPrecondition before anything was ingested.

        A reorganisation meanwhile starts it again; so does a top that differs, since the gateway may be about to
        follow. What differs at the last try is reported.
        """
        for _ in range(_TRIES - 1):
            try:
                report = await self._compare()
            except Aborted as error:
                get_logger().info("compared in vain", error=error.message)
            else:
                if not any(one.stacks_height == report.through_stacks_height for one in report.differences):
                    return report
            await asyncio.sleep(_PAUSE_SECONDS)
        return await self._compare()

    async def _compare(self) -> Report:
        head = await self._chain.head()
        async with self._database.transaction() as session:
            state = await store_chain.read_state(session)
            if state is None:
                raise FailedPrecondition("NOTHING_INGESTED", "no block was ingested yet: there is nothing to compare")
            through = min(head.height, state.stacks_height)
            top = await store_chain.canonical_blocks_between(session, through, through)
            backend = frozenset(await store_nonces.accounts(session))
        report = Report(through)
        last = await self._walk(report, head, backend)
        async with self._database.transaction() as session:
            if await store_chain.canonical_blocks_between(session, through, through) != top:
                raise ChainMoved(through)
            faults = await store_events.history_faults(session)
        now = await self._chain.block(through)
        if last is not None and (now is None or now.index_hash != last.index_hash):
            raise ChainMoved(through)
        report.differences.extend(Difference(DifferenceKind.BROKEN_HISTORY, through, detail=fault) for fault in faults)
        return report

    async def _walk(self, report: Report, head: Block, backend: Collection[str]) -> Block | None:
        """Compares stretch by stretch; answers the last block of the chain."""
        last: Block | None = None
        height = self._start - 1
        while height < report.through_stacks_height:
            blocks = (await self._chain.blocks_above(height, head))[: report.through_stacks_height - height]
            if not blocks or (last is not None and blocks[0].parent_index_hash != last.index_hash):
                raise ChainMoved(height + 1)
            await self._compare_stretch(report, blocks, backend)
            last = blocks[-1]
            height = last.height
        return last

    async def _compare_stretch(self, report: Report, blocks: Sequence[Block], backend: Collection[str]) -> None:
        contents = await read_contents(self._nodes, self._contracts, backend, blocks)
        fresh = [event for content in contents for event in content.events]
        low, high = blocks[0].height, blocks[-1].height
        async with self._database.transaction() as session:
            stored_blocks = await store_chain.canonical_blocks_between(session, low, high)
            stored = await store_events.canonical_events_between(session, low, high)
        report.differences += compare_blocks(stored_blocks, {block.height: block.index_hash for block in blocks})
        report.differences += compare_events(stored, fresh)
        report.blocks += len(blocks)
        report.events += len(fresh)

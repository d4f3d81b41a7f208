"""Follows the chain block by block: events in, reorganisations undone, one database transaction per step.

Polling is the truth. A block is taken only on top of our tip; where its parent is another one, we walk back to the
common ancestor, withdraw what lies above it, and go on from there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, Unavailable
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from services.chain_gateway import metrics, store_chain, store_events, store_transactions
from services.chain_gateway.block_content import BlockContent, UnknownEventForm, mined, nonce_uses, read_leading
from services.chain_gateway.chain_reader import ChainReader
from services.chain_gateway.contracts import PARAMETER, Contracts
from services.chain_gateway.domain.confirmation import final_burn_height
from services.chain_gateway.domain.event_record import EventRecord
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.stacks.node_types import Block
from services.chain_gateway.tables import Block as BlockRow
from services.chain_gateway.tables import ChainState

_RETRY_SECONDS: Final = 0.5
_STOPPED_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 1.0
_BLOCKS_WRITTEN: Final = 40
"""In one database transaction."""


@dataclass(frozen=True)
class IngestSettings:
    """What of the settings concerns ingestion."""

    confirmations: int
    poll_seconds: float
    start_stacks_height: int
    devnet_clock: bool
    backend_accounts: tuple[str, ...]


class Ingest:
    """Ingests while it holds the lease. `run` is its work. `wait` waits for so many seconds, or for a hint."""

    def __init__(
        self,
        database: Database,
        nodes: NodePool,
        contracts: Contracts,
        lease: LeaderLease,
        settings: IngestSettings,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._followed = nodes.sticky()
        self._chain = ChainReader(self._followed)
        self._contracts = contracts
        self._lease = lease
        self._settings = settings
        self._wait = wait

    async def run(self) -> None:
        """Ingests until cancelled or the lease is lost; a node that does not answer is asked again.

        Looks start an interval apart, so that the time that one takes is not added to it.
        """
        clock = asyncio.get_running_loop().time
        while True:
            start = clock()
            try:
                if not await self.step():
                    await self._wait(max(0.0, start + self._settings.poll_seconds - clock()))
                continue
            except LeaseLost:
                raise
            except UnknownEventForm as error:
                metrics.INGEST_STOPPED.set(1)
                get_logger().error("ingestion stands still", error=error.message, **error.metadata)
                pause = _STOPPED_SECONDS
            except (Unavailable, Aborted, NodeRefused) as error:
                get_logger().warning("ingest step failed", error=str(error)[:200])
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def step(self) -> bool:
        """One look at the chain; True when there may be more at once."""
        # The clock first: market time must never be ahead of the tip that it is told with.
        market_time = await self._market_time()
        head = await self._chain.head()
        async with self._database.reading() as session:
            state = await store_chain.read_state(session)
        if state is None:
            return await self._first(market_time)
        metrics.INGEST_LAG.set(max(0, head.height - state.stacks_height))
        if head.index_hash == state.index_hash:
            await self._touch(state, market_time)
            return False
        blocks = await self._chain.blocks_above(state.stacks_height, head)
        if blocks and blocks[0].parent_index_hash == state.index_hash:
            await self._advance(state, head, blocks, market_time)
            return True
        return await self._reorganise(state, head)

    async def _market_time(self) -> dt.datetime | None:
        if not self._settings.devnet_clock:
            return None
        clock = await self._followed.ask(lambda node: node.devnet_clock())
        if clock is None:
            raise Unavailable("NO_CLOCK", "the node has no market clock: is it a devnet?")
        return dt.datetime.fromtimestamp(clock.market_time, dt.UTC)

    async def _advance(
        self, state: ChainState, head: Block, blocks: Sequence[Block], market_time: dt.datetime | None
    ) -> None:
        """Takes blocks on top of our tip, some at a time: the next are read while those before them are written."""
        parent, told = state.index_hash, state.market_time
        parts = [blocks[start : start + _BLOCKS_WRITTEN] for start in range(0, len(blocks), _BLOCKS_WRITTEN)]
        reading = asyncio.ensure_future(self._read(parts[0]))
        try:
            for place, part in enumerate(parts, 1):
                contents = await reading
                last = contents[-1].block
                if whole := len(contents) == len(part) and place < len(parts):
                    reading = asyncio.ensure_future(self._read(parts[place]))
                if market_time is not None:
                    told = market_time if last.height >= head.height else _on_the_way(told, last, market_time)
                await self._apply(contents, parent, told)
                parent = last.index_hash
                if not whole:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, blocks: Sequence[Block]) -> list[BlockContent]:
        return await read_leading(self._followed, self._contracts, self._settings.backend_accounts, blocks)

    async def _first(self, market_time: dt.datetime | None) -> bool:
        block = await self._chain.block(self._settings.start_stacks_height)
        if block is None:
            raise Unavailable("NO_BLOCKS", "the node does not know the first block yet")
        await self._apply(await self._read([block]), None, market_time)
        return True

    async def _apply(
        self, contents: Sequence[BlockContent], parent: str | None, market_time: dt.datetime | None
    ) -> None:
        blocks = [content.block for content in contents]
        async with self._database.transaction() as session:
            await self._lease.check(session)
            state = await store_chain.lock_state(session)
            if (state.index_hash if state else None) != parent:
                raise Aborted("TIP_MOVED", "another replica ingested meanwhile")
            now = wall_now()
            await store_chain.put_blocks(session, blocks)
            state = self._tip(state, blocks[-1], now)
            await self._add_events(session, state, [event for content in contents for event in content.events])
            await self._note_mined(session, contents)
            state.market_time, state.refresh_time = market_time, now
            await self._finalize(session, state)
            await store_chain.save_state(session, state)
        metrics.INGEST_STOPPED.set(0)
        metrics.TIP_STACKS_HEIGHT.set(blocks[-1].height)
        metrics.TIP_BURN_HEIGHT.set(blocks[-1].burn_height)

    async def _add_events(self, session: AsyncSession, state: ChainState, events: Sequence[EventRecord]) -> None:
        await store_events.add_events(session, state.latest_sequence + 1, events)
        for sequence, event in enumerate(events, state.latest_sequence + 1):
            if event.contract == PARAMETER:
                state.parameter_sequence = sequence
        state.latest_sequence += len(events)

    async def _note_mined(self, session: AsyncSession, contents: Sequence[BlockContent]) -> None:
        """Notes what the blocks say of the transactions that went through us, a few among many, and of their nonces.

        The nonces last: one that is followed since a moment must not lack its nonce, or nothing would ever end it.
        """
        txids = [one.txid for content in contents for one in content.transactions]
        known = await store_transactions.known(session, txids)
        found = [
            mined(one, content.block.index_hash, content.block.height, content.block.burn_height)
            for content in contents
            for one in content.transactions
            if one.txid in known
        ]
        if found:
            await store_transactions.note_mined(session, found)
        await store_transactions.note_nonces(session, [use for content in contents for use in nonce_uses(content)])

    async def _finalize(self, session: AsyncSession, state: ChainState) -> None:
        final = final_burn_height(state.burn_height, self._settings.confirmations)
        if final > state.final_burn_height_high:
            state.final_burn_height_high = final
            await store_transactions.finalize(session, final)

    def _tip(self, state: ChainState | None, block: Block, now: dt.datetime) -> ChainState:
        burn_time = dt.datetime.fromtimestamp(block.burn_time, dt.UTC)
        if state is None:
            return ChainState(
                index_hash=block.index_hash,
                block_hash=block.hash,
                stacks_height=block.height,
                burn_height=block.burn_height,
                burn_time=burn_time,
                refresh_time=now,
                advance_time=now,
            )
        state.index_hash, state.block_hash = block.index_hash, block.hash
        state.stacks_height, state.burn_height = block.height, block.burn_height
        state.burn_time, state.advance_time = burn_time, now
        return state

    async def _touch(self, state: ChainState, market_time: dt.datetime | None) -> None:
        """Tells the new market time, and every second that the node still answers."""
        fresh = wall_now() - state.refresh_time < dt.timedelta(seconds=_REFRESH_SECONDS)
        if fresh and market_time == state.market_time:
            return
        async with self._database.transaction() as session:
            await self._lease.check(session)
            locked = await store_chain.lock_state(session)
            if locked is None or locked.index_hash != state.index_hash:
                return
            locked.market_time, locked.refresh_time = market_time, wall_now()
            await store_chain.save_state(session, locked)

    async def _reorganise(self, state: ChainState, head: Block) -> bool:
        """Withdraws what the node's chain does not hold; False when it merely lags, or others do not bear it out."""
        ancestor = await self._common_ancestor(state, head)
        if ancestor.stacks_height in (head.height, state.stacks_height) or not await self._is_borne_out(state, head):
            return False
        await self._withdraw(state, ancestor)
        return True

    async def _common_ancestor(self, state: ChainState, head: Block) -> BlockRow:
        """The highest block that the node's chain has in common with ours, found a page at a time."""
        height = min(state.stacks_height, head.height)
        while height >= self._settings.start_stacks_height:
            theirs = await self._chain.blocks_below(height, head)
            async with self._database.transaction() as session:
                found = await store_chain.highest_canonical(session, [block.index_hash for block in theirs])
            if found is not None:
                return found
            height = theirs[-1].height - 1
        raise Unavailable("OTHER_CHAIN", "the node's chain has no block in common with ours")

    async def _is_borne_out(self, state: ChainState, head: Block) -> bool:
        """Whether our tip is really gone: a node stuck on an abandoned branch must not take us there.

        It is not while more nodes hold it than have another block in its place; where as many do, the longer chain
        decides. Who has no block there yet has no say.
        """
        height, ours = state.stacks_height, state.index_hash
        told = await self._nodes.ask_each(lambda node: node.block(height))
        holding = sum(block.index_hash == ours for block in told.values())
        against = len(told) - holding
        ahead = (head.burn_height, head.height) >= (state.burn_height, height)
        if holding == 0 or holding < against or (holding == against and ahead):
            return True
        self._followed.leave()
        get_logger().warning("a node's chain is not followed: others hold our tip", holding=holding, head=head.hash)
        return False

    async def _withdraw(self, state: ChainState, ancestor: BlockRow) -> None:
        async with self._database.transaction() as session:
            await self._lease.check(session)
            locked = await store_chain.lock_state(session)
            if locked is None or locked.index_hash != state.index_hash:
                raise Aborted("TIP_MOVED", "another replica ingested meanwhile")
            height = ancestor.stacks_height
            confirmations = self._settings.confirmations
            final = await store_events.withdraw_events_above(session, locked, ancestor, confirmations)
            blocks = await store_chain.withdraw_blocks_above(session, height)
            await store_transactions.withdraw_mined_above(session, height)
            locked.parameter_sequence = locked.latest_sequence
            locked.index_hash, locked.block_hash = ancestor.index_hash, ancestor.hash
            locked.stacks_height, locked.burn_height = height, ancestor.burn_height
            locked.burn_time, locked.advance_time = ancestor.burn_time, wall_now()
            await store_chain.save_state(session, locked)
        metrics.WITHDRAWN_BLOCKS.inc(blocks)
        get_logger().warning("reorganisation", ancestor=height, withdrawn_blocks=blocks, final_events=final)
        if final:
            metrics.DEEP_REORGANISATIONS.inc()
            get_logger().error("a reorganisation withdrew final events", ancestor=height, final_events=final)


def _on_the_way(told: dt.datetime | None, block: Block, market_time: dt.datetime) -> dt.datetime:
    """Market time while blocks are still to come: never ahead of the tip it is told with, never back."""
    passed = min(market_time, dt.datetime.fromtimestamp(block.burn_time, dt.UTC))
    return passed if told is None else max(passed, told)

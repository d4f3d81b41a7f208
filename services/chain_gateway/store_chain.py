"""SQL of blocks and the chain's state. One writer at a time: whoever holds the row of `chain_state`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import notify
from services.chain_gateway.stacks import node_types
from services.chain_gateway.tables import Block, ChainState

STATE_CHANNEL: Final = "chain_gateway_state"


async def read_state(session: AsyncSession) -> ChainState | None:
    """What is known of the chain; None before the first block."""
    return (await session.exec(select(ChainState))).first()


async def lock_state(session: AsyncSession) -> ChainState | None:
    """As `read_state`, locked until the transaction ends."""
    return (await session.exec(select(ChainState).with_for_update())).first()


async def save_state(session: AsyncSession, state: ChainState) -> None:
    """Stores the row and wakes whoever follows it."""
    session.add(state)
    await session.flush()
    await notify(session, STATE_CHANNEL)


async def highest_canonical(session: AsyncSession, index_hashes: Sequence[str]) -> Block | None:
    """The highest of these blocks that is canonical with us."""
    # Not ordered here: where none is ours, the planner would go down all our heights in search of one.
    statement = select(Block).where(col(Block.canonical), col(Block.index_hash).in_(index_hashes))
    return max((await session.exec(statement)).all(), key=lambda block: block.stacks_height, default=None)


async def canonical_block_by_hash(session: AsyncSession, block_hash: str) -> Block | None:
    """Our canonical block of a hash."""
    statement = select(Block).where(col(Block.canonical), col(Block.hash) == block_hash)
    return (await session.exec(statement)).first()


async def put_blocks(session: AsyncSession, blocks: Sequence[node_types.Block]) -> None:
    """Stores blocks as canonical; one that was withdrawn before becomes canonical again."""
    statement = insert(Block).on_conflict_do_update(index_elements=["index_hash"], set_={"canonical": True})
    await session.exec(statement, params=[_values(block) for block in blocks])


def _values(block: node_types.Block) -> dict[str, object]:
    return {
        "index_hash": block.index_hash,
        "hash": block.hash,
        "parent_index_hash": block.parent_index_hash,
        "stacks_height": block.height,
        "burn_height": block.burn_height,
        "burn_hash": block.burn_hash,
        "burn_time": dt.datetime.fromtimestamp(block.burn_time, dt.UTC),
        "block_time": dt.datetime.fromtimestamp(block.time, dt.UTC),
        "canonical": True,
        "create_time": wall_now(),
    }


async def canonical_blocks_between(session: AsyncSession, low: int, high: int) -> dict[int, str]:
    """Index hashes of our canonical blocks by height, both ends included."""
    statement = select(Block.stacks_height, Block.index_hash).where(
        col(Block.canonical), col(Block.stacks_height).between(low, high)
    )
    return dict((await session.exec(statement)).all())


async def withdraw_blocks_above(session: AsyncSession, stacks_height: int) -> int:
    """Marks the blocks above a height as withdrawn; how many."""
    statement = (
        sa.update(Block)
        .where(col(Block.canonical), col(Block.stacks_height) > stacks_height)
        .values(canonical=False)
        .returning(col(Block.index_hash))
    )
    return len((await session.exec(statement)).all())

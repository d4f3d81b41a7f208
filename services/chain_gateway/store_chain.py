"""SQL of blocks, events and the chain's state. One writer at a time: whoever holds the row of `chain_state`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import notify
from services.chain_gateway.tables import Block, ChainState, Event

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


async def canonical_block(session: AsyncSession, stacks_height: int) -> Block | None:
    """Our canonical block of a height."""
    statement = select(Block).where(col(Block.canonical), col(Block.stacks_height) == stacks_height)
    return (await session.exec(statement)).first()


async def canonical_block_by_hash(session: AsyncSession, block_hash: str) -> Block | None:
    """Our canonical block of a hash."""
    statement = select(Block).where(col(Block.canonical), col(Block.hash) == block_hash)
    return (await session.exec(statement)).first()


async def put_blocks(session: AsyncSession, blocks: Sequence[Block]) -> None:
    """Stores blocks as canonical; one that was withdrawn before becomes canonical again."""
    statement = insert(Block).values([block.model_dump() for block in blocks])
    await session.exec(statement.on_conflict_do_update(index_elements=["index_hash"], set_={"canonical": True}))


async def withdraw_blocks_above(session: AsyncSession, stacks_height: int) -> int:
    """Marks the blocks above a height as withdrawn; how many."""
    statement = (
        sa.update(Block)
        .where(col(Block.canonical), col(Block.stacks_height) > stacks_height)
        .values(canonical=False)
        .returning(col(Block.index_hash))
    )
    return len((await session.exec(statement)).all())


async def withdraw_events_above(session: AsyncSession, state: ChainState, stacks_height: int) -> int:
    """Appends the withdrawal of every event above a height, newest first, and advances the state's sequences.

    How many of them had been final.
    """
    statement = (
        select(Event)
        .where(col(Event.canonical), col(Event.stacks_height) > stacks_height)
        .order_by(col(Event.sequence).desc())
        .with_for_update()
    )
    final = 0
    for row in (await session.exec(statement)).all():
        row.canonical = False
        row.was_final = row.burn_height <= state.final_burn_height_high
        final += row.was_final
        state.latest_sequence += 1
        withdrawal = Event(**row.model_dump(exclude={"sequence", "withdrawn"}))
        withdrawal.sequence, withdrawal.withdrawn = state.latest_sequence, True
        session.add_all([row, withdrawal])
    await session.flush()
    return final


async def events_at_tip(session: AsyncSession, after: int, limit: int) -> Sequence[Event]:
    """Events and withdrawals after a sequence, in order."""
    statement = select(Event).where(col(Event.sequence) > after).order_by(col(Event.sequence)).limit(limit)
    return (await session.exec(statement)).all()


async def final_events(session: AsyncSession, after: int, final_burn_height: int, limit: int) -> Sequence[Event]:
    """Events after a sequence up to a final burn height, in order; with them those that a reorganisation of final
    blocks withdrew, and their withdrawals.

    The order of sequences is that of the chain among canonical events, since each branch is appended in its order.
    """
    final = sa.and_(col(Event.canonical), col(Event.burn_height) <= final_burn_height)
    statement = (
        select(Event)
        .where(col(Event.sequence) > after, sa.or_(final, col(Event.was_final)))
        .order_by(col(Event.sequence))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def pending_events(session: AsyncSession, final_burn_height: int) -> Sequence[Event]:
    """Canonical events above a burn height, in order."""
    statement = (
        select(Event)
        .where(col(Event.canonical), col(Event.burn_height) > final_burn_height)
        .order_by(col(Event.sequence))
    )
    return (await session.exec(statement)).all()

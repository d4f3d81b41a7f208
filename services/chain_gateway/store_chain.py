"""SQL of blocks, events and the chain's state. One writer at a time: whoever holds the row of `chain_state`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import notify
from services.chain_gateway.domain.event_record import EventRecord
from services.chain_gateway.tables import SCHEMA, Block, ChainState, Event

STATE_CHANNEL: Final = "chain_gateway_state"
_RECORD_COLUMNS: Final = tuple(one.name for one in fields(EventRecord))
_EVENT_COLUMNS: Final = ("sequence", "withdrawn", "canonical", "was_final", *_RECORD_COLUMNS)
_values: Final = attrgetter(*_RECORD_COLUMNS)
_FAULTS_SHOWN: Final = 100


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
    statement = (
        select(Block)
        .where(col(Block.canonical), col(Block.index_hash).in_(index_hashes))
        .order_by(col(Block.stacks_height).desc())
        .limit(1)
    )
    return (await session.exec(statement)).first()


async def canonical_block_by_hash(session: AsyncSession, block_hash: str) -> Block | None:
    """Our canonical block of a hash."""
    statement = select(Block).where(col(Block.canonical), col(Block.hash) == block_hash)
    return (await session.exec(statement)).first()


async def put_blocks(session: AsyncSession, blocks: Sequence[Block]) -> None:
    """Stores blocks as canonical; one that was withdrawn before becomes canonical again."""
    statement = insert(Block).values([block.model_dump() for block in blocks])
    await session.exec(statement.on_conflict_do_update(index_elements=["index_hash"], set_={"canonical": True}))


async def add_events(session: AsyncSession, first_sequence: int, events: Sequence[EventRecord]) -> None:
    """Stores events as canonical, numbered from `first_sequence` on, by one COPY."""
    if not events:
        return
    connection = (await (await session.connection()).get_raw_connection()).driver_connection
    assert isinstance(connection, asyncpg.Connection)
    records = [(sequence, False, True, False, *_values(event)) for sequence, event in enumerate(events, first_sequence)]
    await connection.copy_records_to_table("event", records=records, columns=_EVENT_COLUMNS, schema_name=SCHEMA)


async def canonical_blocks_between(session: AsyncSession, low: int, high: int) -> dict[int, str]:
    """Index hashes of our canonical blocks by height, both ends included."""
    statement = select(Block.stacks_height, Block.index_hash).where(
        col(Block.canonical), col(Block.stacks_height).between(low, high)
    )
    return dict((await session.exec(statement)).all())


async def canonical_events_between(session: AsyncSession, low: int, high: int) -> list[EventRecord]:
    """Our canonical events of heights from `low` to `high`, in the order of their sequences."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in _RECORD_COLUMNS]
    statement = (
        sa.select(*columns)
        .select_from(Event)
        .where(col(Event.canonical), col(Event.stacks_height).between(low, high))
        .order_by(col(Event.sequence))
    )
    return [EventRecord(*row) for row in (await (await session.connection()).execute(statement)).all()]


async def history_faults(session: AsyncSession) -> list[str]:
    """What is wrong with the history as such: gaps in the sequences, or rows that do not add up to what is canonical.

    Whoever applies every row in order must end with the canonical events, each once.
    """
    numbers: sa.Select[int, int] = sa.select(
        sa.func.count(), sa.func.coalesce(sa.func.max(Event.sequence), 0)
    ).select_from(Event)
    connection = await session.connection()
    count, highest = (await connection.execute(numbers)).one()
    latest = (await session.exec(select(ChainState.latest_sequence))).first() or 0
    faults = [] if count == highest == latest else [f"{count} rows up to sequence {highest}, latest {latest}"]
    net = sa.func.sum(sa.case((col(Event.withdrawn), -1), else_=1))
    canonical = sa.func.sum(sa.cast(col(Event.canonical), sa.Integer))
    keys = [col(Event.index_hash), col(Event.txid), col(Event.event_index)]
    wrong = sa.select(*keys).group_by(*keys).having(net != canonical).limit(_FAULTS_SHOWN)
    for row in (await connection.execute(wrong)).all():
        faults.append(f"event {row[2]} of {row[1]} in {row[0]}: told and withdrawn do not add up")
    return faults


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

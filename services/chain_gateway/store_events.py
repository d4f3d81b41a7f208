"""SQL of events: appended in order, withdrawn by a row of their own, read at the tip or when final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import driver_connection
from services.chain_gateway.domain.confirmation import MAX_CONFIRMATIONS, final_burn_height
from services.chain_gateway.domain.event_record import EventRecord
from services.chain_gateway.tables import SCHEMA, Block, ChainState, Event

_RECORD_COLUMNS: Final = tuple(one.name for one in fields(EventRecord))
_EVENT_COLUMNS: Final = ("sequence", "withdrawn", "canonical", "was_final", "confirmations_seen", *_RECORD_COLUMNS)
_values: Final = attrgetter(*_RECORD_COLUMNS)
_FAULTS_SHOWN: Final = 100


async def add_events(session: AsyncSession, first_sequence: int, events: Sequence[EventRecord]) -> None:
    """Stores events as canonical, numbered from `first_sequence` on, by one COPY."""
    if not events:
        return
    connection = await driver_connection(session)
    records = [
        (sequence, False, True, False, 0, *_values(event)) for sequence, event in enumerate(events, first_sequence)
    ]
    await connection.copy_records_to_table("event", records=records, columns=_EVENT_COLUMNS, schema_name=SCHEMA)


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


async def withdraw_events_above(session: AsyncSession, state: ChainState, ancestor: Block, confirmations: int) -> int:
    """Appends the withdrawal of every event above a block, newest first, and advances the state's sequences.

    How many of them had been final by so many confirmations. Before that it notes of all events, as far as it can
    matter, how many confirmations they had under the tip that is left: what was final for a consumer stays so, though
    the next tip may have a lower burn height.
    """
    seen = sa.func.greatest(col(Event.confirmations_seen), state.burn_height - col(Event.burn_height))
    lowest = ancestor.burn_height - MAX_CONFIRMATIONS
    noted = sa.update(Event).where(col(Event.canonical), col(Event.burn_height) > lowest)
    await session.exec(noted.values(confirmations_seen=seen))
    gone = (
        sa.update(Event)
        .where(col(Event.canonical), col(Event.stacks_height) > ancestor.stacks_height)
        .values(canonical=False, was_final=col(Event.confirmations_seen) >= confirmations)
        .returning(*(col(getattr(Event, name)) for name in _EVENT_COLUMNS))
        .cte("gone")
    )
    place = sa.func.row_number().over(order_by=gone.c.sequence.desc())
    kept = [gone.c[name] for name in _EVENT_COLUMNS[3:]]
    rows = sa.select(state.latest_sequence + place, sa.true(), sa.false(), *kept)
    appended = insert(Event).from_select(_EVENT_COLUMNS, rows).returning(col(Event.was_final))
    finals = [row[0] for row in (await (await session.connection()).execute(appended)).all()]
    state.latest_sequence += len(finals)
    return sum(finals)


async def events_at_tip(session: AsyncSession, after: int, limit: int) -> Sequence[Event]:
    """Events and withdrawals after a sequence, in order."""
    statement = select(Event).where(col(Event.sequence) > after).order_by(col(Event.sequence)).limit(limit)
    return (await session.exec(statement)).all()


def _is_final(tip_burn_height: int, confirmations: int) -> sa.ColumnElement[bool]:
    """SQL: whether an event has had so many confirmations, now or under an earlier tip.

    Among canonical events those form a prefix of the order of sequences, which is that of the chain: each branch is
    appended in its order, and what confirmed an event confirmed all that lay below it. So a cursor passes nothing
    that becomes final later.
    """
    now = sa.and_(col(Event.canonical), col(Event.burn_height) <= final_burn_height(tip_burn_height, confirmations))
    return sa.or_(now, col(Event.confirmations_seen) >= confirmations)


async def final_events(
    session: AsyncSession, after: int, tip_burn_height: int, confirmations: int, limit: int
) -> Sequence[Event]:
    """Events after a sequence that are final under a tip, in order; with them those that a reorganisation withdrew
    after they had been final, and their withdrawals."""
    statement = (
        select(Event)
        .where(col(Event.sequence) > after, _is_final(tip_burn_height, confirmations))
        .order_by(col(Event.sequence))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def pending_events(session: AsyncSession, block: Block, confirmations: int) -> Sequence[Event]:
    """Canonical events up to a canonical block that were not final with that block as the tip, in order."""
    final = final_burn_height(block.burn_height, confirmations)
    statement = (
        select(Event)
        .where(
            col(Event.canonical),
            col(Event.burn_height).between(final + 1, block.burn_height),
            col(Event.stacks_height) <= block.stacks_height,
        )
        .order_by(col(Event.sequence))
    )
    return (await session.exec(statement)).all()


async def last_sequence(session: AsyncSession, block: Block) -> int:
    """The number of the last event up to a canonical block; zero before the first."""
    height = sa.select(sa.func.max(Event.stacks_height)).where(
        col(Event.canonical), col(Event.stacks_height) <= block.stacks_height
    )
    statement = sa.select(sa.func.max(Event.sequence)).where(
        col(Event.canonical), col(Event.stacks_height) == height.scalar_subquery()
    )
    return (await (await session.connection()).execute(statement)).scalar_one() or 0

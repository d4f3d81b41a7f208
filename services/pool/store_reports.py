"""SQL of reconciliation: reports, and what the rows of positions and reservations say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from kernel.units import Tier, Token
from services.pool import store_coverage, store_positions, tables
from services.pool.domain.collateral import ReservationState
from services.pool.domain.ledger import EntryKind
from services.pool.domain.positions import Positions
from services.pool.domain.withdrawal import WithdrawalState

_PAYABLE: Final = (WithdrawalState.PRICED.value, WithdrawalState.READY.value)
# More of one kind in a report help nobody; the rest is in the next.
MOST_OF_A_KIND: Final = 500


async def get_report(session: AsyncSession, report_id: str) -> tables.Reconciliation | None:
    """A report by its id."""
    statement = select(tables.Reconciliation).where(col(tables.Reconciliation.id) == report_id)
    return (await session.exec(statement)).first()


async def latest_report(session: AsyncSession) -> tables.Reconciliation | None:
    """The report that was made last."""
    statement = select(tables.Reconciliation).order_by(col(tables.Reconciliation.create_time).desc()).limit(1)
    return (await session.exec(statement)).first()


async def booked_events(session: AsyncSession, events: Collection[str]) -> set[str]:
    """Which of these events have an entry that stands and that explains them."""
    entry, reversing = tables.JournalEntry, sa.orm.aliased(tables.JournalEntry)
    statement = (
        select(entry.event)
        .where(col(entry.event).in_(events), col(entry.reverses).is_(None))
        .where(col(entry.kind) != EntryKind.UNATTRIBUTED.value)
        .where(~sa.exists().where(col(reversing.reverses) == col(entry.id)))
    )
    return set((await session.exec(statement)).all())


async def read_positions(session: AsyncSession, burn_height: int, faults: Sequence[tuple[str, str]] = ()) -> Positions:
    """What the rows say while the books stand at `burn_height`; `faults` are the journal's, read before."""
    return Positions(
        unpriced=await _sums(session, tables.Deposit, "amount", (store_positions.FINAL,), "state"),
        payable=await _sums(session, tables.Withdrawal, "amount", _PAYABLE, "state", restored=False),
        restored_paid=await _sums(
            session, tables.Withdrawal, "amount", (WithdrawalState.PAID.value,), "state", restored=True
        ),
        covered=await _sums(session, tables.Coverage, "max_payout", (store_coverage.ACTIVE,), "status"),
        overdue_reservations=await _reservations(
            session,
            ReservationState.HELD,
            col(tables.Reservation.quote_expiration_burn_height) <= burn_height,
            ~_covered(),
        ),
        created_reservations=await _reservations(session, ReservationState.HELD, _covered()),
        empty_reservations=await _reservations(session, ReservationState.COMMITTED, ~_covered()),
        overdue_vouchers=tuple(await store_positions.overdue_vouchers(session, burn_height)),
        faults=tuple(faults),
    )


async def _sums(
    session: AsyncSession, table: Any, amount: str, states: tuple[str, ...], state: str, **other: bool
) -> dict[tuple[Tier, Token], int]:
    columns = table.__table__.c
    statement = (
        sa.select(columns.tier, columns.token, sa.func.sum(columns[amount]))
        .where(columns[state].in_([constant(one) for one in states]))
        .where(*(columns[name].is_(value) for name, value in other.items()))
        .group_by(columns.tier, columns.token)
    )
    rows = (await (await session.connection()).execute(statement)).all()
    return {(Tier(tier), Token(token)): int(total) for tier, token, total in rows}


def _covered() -> sa.ColumnElement[bool]:
    coverage = tables.Coverage
    return sa.exists().where(
        col(coverage.policy_id) == col(tables.Reservation.policy_id),
        col(coverage.status) != store_coverage.REVERSED,
    )


async def _reservations(
    session: AsyncSession, state: ReservationState, *conditions: sa.ColumnElement[bool]
) -> tuple[str, ...]:
    table = tables.Reservation
    statement = select(table.policy_id).where(col(table.state) == constant(state), *conditions)
    return tuple((await session.exec(statement.order_by(col(table.policy_id)).limit(MOST_OF_A_KIND))).all())

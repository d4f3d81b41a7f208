"""SQL of what the books stand at: cursor, tier locks, balances."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import constant
from kernel.units import Tier, Token
from services.pool import tables
from services.pool.domain import ledger
from services.pool.domain.collateral import ReservationState, TierBooks
from services.pool.domain.withdrawal import WithdrawalState
from services.pool.store_arrays import run

CURSOR = "chain"


async def read_cursor(session: AsyncSession, *, lock: bool = False) -> tables.Cursor:
    """The projector's row; locked until the end of the transaction if asked."""
    statement = select(tables.Cursor).where(col(tables.Cursor.name) == CURSOR)
    return (await session.exec(statement.with_for_update() if lock else statement)).one()


async def lock_cursor(session: AsyncSession) -> str:
    """How far the projector is; its row is locked until the end of the transaction."""
    return str((await (await session.connection()).execute(_LOCK_CURSOR)).scalar_one())


async def move_cursor(session: AsyncSession, cursor: str, height: int, now: dt.datetime, halt_reason: str) -> int:
    """Advances the locked cursor; the burn height, which never falls. A reason to halt stays until it is cleared."""
    (row,) = await run(session, _MOVE_CURSOR, CURSOR, cursor, height, now, wall_now(), halt_reason)
    return int(row[0])


async def anything_due(session: AsyncSession, height: int) -> bool:
    """Whether a voucher can finally not be used any more at a height, or a quote not be paid."""
    (row,) = await run(session, _DUE, height)
    return bool(row[0])


_LOCK_CURSOR: Final = sa.text(f"SELECT cursor FROM pool.cursor WHERE name = '{CURSOR}' FOR UPDATE")
_MOVE_CURSOR: Final = """UPDATE pool.cursor
    SET cursor = $2, projected_burn_height = greatest(projected_burn_height, $3), market_time = $4, update_time = $5,
        halt_reason = coalesce(nullif($6, ''), halt_reason)
    WHERE name = $1 RETURNING projected_burn_height"""
_DUE: Final = f"""SELECT EXISTS (
        SELECT FROM pool.withdrawal WHERE state IN ('{WithdrawalState.PRICED}', '{WithdrawalState.READY}')
        AND last_use_burn_height <= $1
    ) OR EXISTS (
        SELECT FROM pool.reservation WHERE state = '{ReservationState.HELD}' AND quote_expiration_burn_height <= $1
    )"""


async def clear_halt(session: AsyncSession) -> str:
    """Lets capacity be given out again; why it was not."""
    row = await read_cursor(session, lock=True)
    reason, row.halt_reason = row.halt_reason, ""
    session.add(row)
    return reason


async def lock_tiers(session: AsyncSession, tier: Tier | None = None, token: Token | None = None) -> None:
    """Locks one tier's books, or all in a fixed order, until the end of the transaction."""
    statement = select(tables.TierLock).order_by(col(tables.TierLock.tier), col(tables.TierLock.token))
    if tier is not None:
        statement = statement.where(col(tables.TierLock.tier) == int(tier))
    if token is not None:
        statement = statement.where(col(tables.TierLock.token) == int(token))
    (await session.exec(statement.with_for_update())).all()


async def lock_all_tiers(session: AsyncSession) -> None:
    """Locks all tiers' books, in the same order."""
    await run(session, "SELECT FROM pool.tier_lock ORDER BY tier, token FOR UPDATE")


async def balances(session: AsyncSession, accounts: Sequence[str] | None = None) -> dict[tuple[str, Token], int]:
    """Signed balances by account and token; of all accounts if none are named."""
    statement = select(tables.AccountBalance).order_by(col(tables.AccountBalance.account))
    if accounts is not None:
        statement = statement.where(col(tables.AccountBalance.account).in_(accounts))
    rows = (await session.exec(statement)).all()
    return {(row.account, Token(row.token)): row.balance for row in rows}


async def tier_books(session: AsyncSession, tier: Tier, token: Token) -> TierBooks:
    """The books of one tier in one token, all figures at one moment; they stay so only under its lock."""
    statement = sa.select(
        _balance_of(ledger.free_capital(tier, token), token),
        _balance_of(ledger.locked_collateral(tier, token), token),
        sa.select(sa.func.coalesce(sa.func.sum(col(tables.Reservation.max_payout)), 0))
        .where(col(tables.Reservation.tier) == int(tier), col(tables.Reservation.token) == int(token))
        .where(col(tables.Reservation.state) == constant(ReservationState.HELD))
        .scalar_subquery(),
        sa.select(col(tables.TierShares.shares))
        .where(col(tables.TierShares.tier) == int(tier), col(tables.TierShares.token) == int(token))
        .scalar_subquery(),
        sa.select(
            sa.func.coalesce(sa.func.sum(col(tables.Withdrawal.shares) - col(tables.Withdrawal.filled_shares)), 0)
        )
        .where(col(tables.Withdrawal.tier) == int(tier), col(tables.Withdrawal.token) == int(token))
        .where(col(tables.Withdrawal.state) == constant(WithdrawalState.REQUESTED))
        .scalar_subquery(),
    )
    free, locked, reserved, count, queued = (await (await session.connection()).execute(statement)).one()
    return TierBooks(
        tier,
        token,
        free=-int(free),
        locked=-int(locked),
        reserved=int(reserved),
        shares=count or 0,
        queued_shares=int(queued),
    )


def _balance_of(account: str, token: Token) -> sa.ColumnElement[int]:
    balance = (
        sa.select(col(tables.AccountBalance.balance))
        .where(col(tables.AccountBalance.account) == account, col(tables.AccountBalance.token) == int(token))
        .scalar_subquery()
    )
    return sa.func.coalesce(balance, 0)


async def version(session: AsyncSession) -> Hashable:
    """The newest entry, decision and reconciliation, which may put a policy's terms right: whatever is derived from the
    books holds as long as these do."""
    entry = sa.select(sa.func.max(col(tables.JournalEntry.id))).scalar_subquery()
    report = sa.select(sa.func.max(col(tables.Reconciliation.create_time))).scalar_subquery()
    statement = sa.select(entry, col(tables.DecisionCursor.cursor), report)
    return tuple((await (await session.connection()).execute(statement)).one())

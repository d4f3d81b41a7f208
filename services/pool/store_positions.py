"""SQL of deposits, withdrawals, shares and statements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
from kernel.units import Tier, Token
from services.pool import tables
from services.pool.domain.withdrawal import WithdrawalRefusal, WithdrawalState

FINAL = "FINAL"
PRICED = "PRICED"
REVERSED = "REVERSED"
CANCELLED = "CANCELLED"
_PAYABLE = (WithdrawalState.PRICED.value, WithdrawalState.READY.value)

Key = tuple[Tier, Token]


async def get_deposit(session: AsyncSession, deposit_id: str, *, lock: bool = False) -> tables.Deposit | None:
    """A deposit that stands, locked if asked."""
    statement = (
        select(tables.Deposit).where(col(tables.Deposit.id) == deposit_id).where(col(tables.Deposit.state) != REVERSED)
    )
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.exec(statement)).first()


async def standing_deposit_of(session: AsyncSession, txid: str, event_id: str) -> tables.Deposit | None:
    """The deposit of `{txid}-{event index}` that stands, also where the event came back in another block; locked.

    Found among those of its transaction: the start of an id is nothing that an index of any collation finds.
    """
    same = sa.or_(col(tables.Deposit.id) == event_id, col(tables.Deposit.id).startswith(f"{event_id}-"))
    statement = select(tables.Deposit).where(col(tables.Deposit.txid) == txid, same)
    return (await session.exec(statement.where(col(tables.Deposit.state) != REVERSED).with_for_update())).first()


async def get_withdrawal(session: AsyncSession, withdrawal_id: str, *, lock: bool = False) -> tables.Withdrawal | None:
    """A withdrawal, locked if asked."""
    statement = select(tables.Withdrawal).where(col(tables.Withdrawal.id) == withdrawal_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.exec(statement)).first()


async def return_of(session: AsyncSession, deposit_id: str) -> str | None:
    """The id of the withdrawal that gives a deposit back; None where there is none."""
    statement = select(tables.Withdrawal.id).where(col(tables.Withdrawal.deposit_id) == deposit_id)
    return (await session.exec(statement)).first()


async def lock_withdrawals(session: AsyncSession, names: Sequence[str]) -> dict[str, tables.Withdrawal]:
    """Those withdrawals of these ids that there are, locked in the order of their ids."""
    statement = (
        select(tables.Withdrawal)
        .where(col(tables.Withdrawal.id) == sa.any_(sa.literal(names, ARRAY(sa.Text))))
        .order_by(col(tables.Withdrawal.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {row.id: row for row in (await session.exec(statement)).all()}


async def ahead_in_queue(session: AsyncSession, row: tables.Withdrawal) -> int:
    """How many withdrawals of the tier and token wait before this one."""
    table = tables.Withdrawal
    statement = (
        select(sa.func.count())
        .where(col(table.tier) == row.tier, col(table.token) == row.token)
        .where(col(table.state) == constant(WithdrawalState.REQUESTED))
        .where(col(table.queue_number) < row.queue_number)
    )
    return int((await session.exec(statement)).one())


async def begin_next_turn(session: AsyncSession, ended: tables.Withdrawal, now: dt.datetime, free: int) -> None:
    """Whoever waits behind the one that has ended is first from `now` on, when `free` base units are."""
    table = tables.Withdrawal
    following = (
        select(table.id)
        .where(col(table.tier) == ended.tier, col(table.token) == ended.token)
        .where(col(table.state) == constant(WithdrawalState.REQUESTED))
        .where(col(table.queue_number) > ended.queue_number)
        .order_by(col(table.queue_number))
        .limit(1)
    )
    turn = sa.func.greatest(col(table.request_market_time), now)
    values = {"request_market_time": turn, "free_at_turn": free}
    statement = sa.update(table).where(col(table.id) == following.scalar_subquery()).values(values)
    await session.exec(statement, execution_options={"synchronize_session": False})


async def withdrawals_of(
    session: AsyncSession, provider: str, before_id: str | None, limit: int
) -> Sequence[tables.Withdrawal]:
    """A provider's withdrawals and their parts, newest first."""
    statement = select(tables.Withdrawal).where(col(tables.Withdrawal.provider) == provider)
    if before_id is not None:
        statement = statement.where(col(tables.Withdrawal.id) < before_id)
    return (await session.exec(statement.order_by(col(tables.Withdrawal.id).desc()).limit(limit))).all()


async def lapsed_vouchers(session: AsyncSession, delivered_burn_height: int) -> Sequence[tables.Withdrawal]:
    """Priced withdrawals whose voucher can finally not be used any more; locked."""
    statement = select(tables.Withdrawal).where(_lapsed(delivered_burn_height)).order_by(col(tables.Withdrawal.id))
    return (await session.exec(statement.with_for_update().execution_options(populate_existing=True))).all()


async def overdue_vouchers(session: AsyncSession, delivered_burn_height: int) -> Sequence[str]:
    """The ids of `lapsed_vouchers`; nothing is locked."""
    statement = select(tables.Withdrawal.id).where(_lapsed(delivered_burn_height)).order_by(col(tables.Withdrawal.id))
    return (await session.exec(statement)).all()


def _lapsed(delivered_burn_height: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        col(tables.Withdrawal.state).in_([constant(state) for state in _PAYABLE]),
        col(tables.Withdrawal.last_use_burn_height) <= delivered_burn_height,
    )


async def refuse_queue(session: AsyncSession, tier: Tier, token: Token, reason: WithdrawalRefusal) -> None:
    """Refuses whatever waits in the queue of a tier and token."""
    table = tables.Withdrawal
    statement = (
        sa.update(table)
        .where(col(table.tier) == int(tier), col(table.token) == int(token))
        .where(col(table.state) == constant(WithdrawalState.REQUESTED))
        .values(state=WithdrawalState.REFUSED.value, reason=str(reason))
    )
    await session.exec(statement, execution_options={"synchronize_session": False})


async def holders(session: AsyncSession, tier: Tier, token: Token) -> dict[str, int]:
    """The shares of everybody who has some in a tier and token."""
    table = tables.ShareBalance
    statement = (
        select(table.provider, table.shares)
        .where(col(table.tier) == int(tier), col(table.token) == int(token), col(table.shares) > 0)
        .order_by(col(table.provider))
    )
    return dict((await session.exec(statement)).all())


async def shares_of(session: AsyncSession, provider: str) -> dict[Key, int]:
    """A provider's shares per tier and token; only where there are some."""
    statement = select(tables.ShareBalance).where(col(tables.ShareBalance.provider) == provider)
    rows = (await session.exec(statement.where(col(tables.ShareBalance.shares) > 0))).all()
    return {(Tier(row.tier), Token(row.token)): row.shares for row in rows}


async def pending_shares(session: AsyncSession, provider: str, tier: Tier, token: Token) -> int:
    """Shares that requested withdrawals will burn."""
    statement = (
        select(sa.func.coalesce(sa.func.sum(col(tables.Withdrawal.shares) - col(tables.Withdrawal.filled_shares)), 0))
        .where(col(tables.Withdrawal.provider) == provider)
        .where(col(tables.Withdrawal.tier) == int(tier), col(tables.Withdrawal.token) == int(token))
        .where(col(tables.Withdrawal.state) == constant(WithdrawalState.REQUESTED))
    )
    return int((await session.exec(statement)).one())


async def unpriced_of(session: AsyncSession, provider: str) -> dict[Key, int]:
    """A provider's final deposits without shares, per tier and token."""
    statement = (
        select(tables.Deposit.tier, tables.Deposit.token, sa.func.sum(col(tables.Deposit.amount)))
        .where(col(tables.Deposit.provider) == provider, col(tables.Deposit.state) == constant(FINAL))
        .group_by(col(tables.Deposit.tier), col(tables.Deposit.token))
    )
    rows = (await session.exec(statement)).all()
    return {(Tier(tier), Token(token)): int(amount) for tier, token, amount in rows}


async def statement_lines(
    session: AsyncSession, provider: str, before_id: int | None, limit: int
) -> Sequence[tables.StatementLine]:
    """A provider's lines, newest first, those with an id below `before_id`."""
    statement = select(tables.StatementLine).where(col(tables.StatementLine.provider) == provider)
    if before_id is not None:
        statement = statement.where(col(tables.StatementLine.id) < before_id)
    return (await session.exec(statement.order_by(col(tables.StatementLine.id).desc()).limit(limit))).all()

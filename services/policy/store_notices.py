"""Notices that no change of a policy causes: the price has crossed a strike, or an expiration has come near."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant, notify
from services.policy.domain.notice import NoticeKind
from services.policy.domain.transitions import PolicyState
from services.policy.store import POLICY
from services.policy.store_feed import FEED
from services.policy.tables import CHANGES_CHANNEL, METADATA

CURSOR: Final = METADATA.tables["policy.notice_cursor"]
_COLUMNS: Final = ("principal", "policy_id", "kind", "time", "burn_height", "token", "once")


async def lock_cursor(session: AsyncSession, name: str, first: int) -> int:
    """Up to where notices of a name were given, locked; `first` where none ever was."""
    connection = await session.connection()
    await connection.execute(insert(CURSOR).values(name=name, value=first).on_conflict_do_nothing())
    found = await connection.execute(sa.select(CURSOR.c.value).where(CURSOR.c.name == name).with_for_update())
    return int(found.scalar_one())


async def set_cursor(session: AsyncSession, name: str, value: int) -> None:
    """Notices of a name are given up to here."""
    connection = await session.connection()
    await connection.execute(sa.update(CURSOR).where(CURSOR.c.name == name).values(value=value))


async def add_near_expiry(session: AsyncSession, low: int, high: int, blocks: int, now: dt.datetime, tip: int) -> int:
    """A notice for each ACTIVE policy with an expiration above `low` and at most `high`; how many."""
    heights = POLICY.c.expiration_burn_height
    return await _add(session, NoticeKind.NEAR_EXPIRY, str(blocks), now, tip, heights > low, heights <= high)


async def add_in_the_money(
    session: AsyncSession, low_usd_e8: int, high_usd_e8: int, period: int, now: dt.datetime, tip: int
) -> int:
    """A notice for each ACTIVE policy whose strike is above the price `low` and at most `high`, unless it had one in
    this period; how many."""
    strike = POLICY.c.strike_price_usd_e8
    return await _add(
        session, NoticeKind.IN_THE_MONEY, str(period), now, tip, strike > low_usd_e8, strike <= high_usd_e8
    )


async def _add(
    session: AsyncSession,
    kind: NoticeKind,
    occasion: str,
    now: dt.datetime,
    tip: int,
    *conditions: sa.ColumnElement[bool],
) -> int:
    values: list[Any] = [
        POLICY.c.holder_principal,
        POLICY.c.id,
        sa.literal(str(kind)),
        sa.literal(now, sa.DateTime(timezone=True)),
        sa.literal(tip, sa.BigInteger),
        POLICY.c.token,
        POLICY.c.id + f"/{kind}/{occasion}",
    ]
    policies = sa.select(*values).where(POLICY.c.state == constant(PolicyState.ACTIVE), *conditions)
    statement = insert(FEED).from_select(list(_COLUMNS), policies).on_conflict_do_nothing(index_elements=["once"])
    connection = await session.connection()
    count = (await connection.execute(statement)).rowcount
    if count:
        await notify(session, CHANGES_CHANNEL)
    return count

"""SQL of intents that pay the fee of a user's transaction."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.chain_gateway import store_intents
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.tables import Intent


def key_of(prepared_id: str) -> str:
    """The key of a prepared transaction's intent."""
    return f"sponsor/{prepared_id}"


async def intent_of(session: AsyncSession, prepared_id: str) -> Intent | None:
    """The intent of a prepared transaction, once it was submitted."""
    return await store_intents.by_key(session, key_of(prepared_id))


async def lock(session: AsyncSession, principal: str) -> None:
    """Waits until no other transaction, of any replica, accepts one for this account; held until this one ends."""
    await session.exec(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(principal, 0))))  # type: ignore[call-overload]


async def count_open(session: AsyncSession, principal: str) -> int:
    """How many of the account's have not ended."""
    return await _count(session, principal, col(Intent.state) <= IntentState.SUBMITTED)


async def count_since(session: AsyncSession, principal: str, time: dt.datetime) -> int:
    """How many were accepted for the account from a time on; those that were never signed do not count."""
    never_signed = sa.and_(col(Intent.state) == IntentState.CANCELLED, col(Intent.give_up_reason) == "")
    return await _count(session, principal, col(Intent.create_time) >= time, ~never_signed)


async def _count(session: AsyncSession, principal: str, *conditions: sa.ColumnElement[bool]) -> int:
    statement = (
        select(sa.func.count())
        .select_from(Intent)
        .where(col(Intent.origin_signed).is_not(None), col(Intent.created_by) == principal, *conditions)
    )
    return int((await session.exec(statement)).one())

"""SQL of what was signed and refused: the audit, and the sums that the signing policy limits."""

from __future__ import annotations

import datetime as dt
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.chain_gateway.domain.signing_policy import Used, Value
from services.chain_gateway.tables_keys import SigningAudit, SigningDay

_LOCK: Final = 0x5167_4E50
_ALLOWED: Final = ""


async def lock(session: AsyncSession) -> None:
    """Waits until no other transaction, of any replica, adds to the sums; held until this one ends."""
    await session.exec(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))  # type: ignore[call-overload]


async def allowed(session: AsyncSession, subject: str) -> SigningAudit | None:
    """What was allowed for a subject."""
    return await session.get(SigningAudit, (subject, _ALLOWED))


async def used(session: AsyncSession, what: str, now: dt.datetime, most: int) -> Used:
    """What was allowed of a kind: today's value, and the signatures of the last minute, counted up to `most`."""
    day = await session.get(SigningDay, (now.date(), what))
    recent = (
        select(col(SigningAudit.subject))
        .where(
            col(SigningAudit.what) == what,
            col(SigningAudit.reason) == _ALLOWED,
            col(SigningAudit.create_time) > now - dt.timedelta(minutes=1),
        )
        .limit(most)
        .subquery()
    )
    count = (await session.exec(select(sa.func.count()).select_from(recent))).one()
    return Used(Value(day.ustx, day.sats) if day else Value(), int(count))


async def allow(session: AsyncSession, row: SigningAudit) -> None:
    """Notes what is allowed, and adds it to its day."""
    session.add(row)
    statement = insert(SigningDay).values(day=row.create_time.date(), what=row.what, ustx=row.ustx, sats=row.sats)
    statement = statement.on_conflict_do_update(
        index_elements=["day", "what"],
        set_={
            "ustx": col(SigningDay.ustx) + statement.excluded.ustx,
            "sats": col(SigningDay.sats) + statement.excluded.sats,
        },
    )
    await session.exec(statement)


async def refuse(session: AsyncSession, row: SigningAudit) -> None:
    """Notes a refusal; the same subject refused again for the same reason is counted on its row."""
    statement = insert(SigningAudit).values(row.model_dump())
    statement = statement.on_conflict_do_update(
        index_elements=["subject", "reason"],
        set_={
            "attempts": col(SigningAudit.attempts) + 1,
            "last_time": statement.excluded.last_time,
            "account": statement.excluded.account,
            "detail": statement.excluded.detail,
        },
    )
    await session.exec(statement)

"""SQL of what was signed and refused: the audit, and the sums that the signing policy limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import constant
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


async def allowed_among(session: AsyncSession, subjects: Sequence[str]) -> set[str]:
    """For which of these subjects something was allowed."""
    statement = select(col(SigningAudit.subject)).where(
        col(SigningAudit.subject).in_(subjects), col(SigningAudit.reason) == _ALLOWED
    )
    return set((await session.exec(statement)).all())


async def used(session: AsyncSession, what: str, now: dt.datetime, most: int) -> Used:
    """What was allowed of a kind: today's value, and the signatures of the last minute, counted up to `most`."""
    day = await session.get(SigningDay, (now.date(), what))
    recent = (
        select(col(SigningAudit.subject))
        .where(
            col(SigningAudit.what) == what,
            col(SigningAudit.reason) == constant(_ALLOWED),
            col(SigningAudit.create_time) > now - dt.timedelta(minutes=1),
        )
        .limit(most)
        .subquery()
    )
    count = (await session.exec(select(sa.func.count()).select_from(recent))).one()
    return Used(Value(day.ustx, day.sats) if day else Value(), int(count))


async def allow(session: AsyncSession, rows: Sequence[SigningAudit]) -> None:
    """Notes what is allowed, and adds it to its days."""
    session.add_all(rows)
    sums: dict[tuple[dt.date, str], Value] = {}
    for row in rows:
        key = row.create_time.date(), row.what
        sums[key] = sums.get(key, Value()) + Value(row.ustx, row.sats)
    for (day, what), value in sums.items():
        await _add_to_day(session, day, what, value)


async def _add_to_day(session: AsyncSession, day: dt.date, what: str, value: Value) -> None:
    statement = insert(SigningDay).values(day=day, what=what, ustx=value.ustx, sats=value.sats)
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

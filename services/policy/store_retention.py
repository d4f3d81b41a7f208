"""What is kept for a time only: delivered outbox rows, answers to requests. Policies and history are never removed."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy.tables import Outbox, Request


async def prune_outbox(session: AsyncSession, before: dt.datetime, limit: int) -> int:
    """Removes rows delivered before a time, the oldest first; how many. What waits for delivery stays."""
    time = col(Outbox.deliver_time)
    old = sa.select(col(Outbox.id)).where(time < before).order_by(time).limit(limit)
    connection = await session.connection()
    ids = (await connection.execute(old)).scalars().all()
    return await _delete(session, sa.delete(Outbox).where(col(Outbox.id).in_(ids))) if ids else 0


async def prune_requests(session: AsyncSession, before: dt.datetime, limit: int) -> int:
    """Forgets requests from before a time with their answers, the oldest first; how many."""
    time = col(Request.create_time)
    ends = sa.select(time).where(time < before).order_by(time).limit(limit).subquery("page")
    connection = await session.connection()
    first, last = (await connection.execute(sa.select(sa.func.min(ends.c[0]), sa.func.max(ends.c[0])))).one()
    return 0 if first is None else await _delete(session, sa.delete(Request).where(time.between(first, last)))


async def _delete(session: AsyncSession, statement: sa.Delete) -> int:
    connection = await session.connection()
    return (await connection.execute(statement)).rowcount

"""Removes what a service keeps for a time only; of several replicas one does. docs/privacy.md says what and why."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.feed import Feed
from kernel.idempotency import IdempotencyRecord
from kernel.lease import LeaderLease
from kernel.outbox import OutboxRecord

# A repeat of a request is answered as the first was for so long.
REQUESTS_KEPT: Final = dt.timedelta(days=30)
# For whoever looks into how a workflow was started.
OUTBOX_KEPT: Final = dt.timedelta(days=7)
FEED_KEPT: Final = dt.timedelta(days=90)
_BATCH: Final = 1_000
_PAUSE_SECONDS: Final = 600.0


class Retention:
    """Small batches, each its own transaction, so that nobody waits for them. Each is found by an index on its time."""

    def __init__(
        self,
        database: Database,
        lease: LeaderLease,
        outbox: type[OutboxRecord],
        request: type[IdempotencyRecord],
        feed: Feed,
    ) -> None:
        self._database = database
        self._lease = lease
        self._outbox = outbox
        self._request = request
        self._feed = feed

    async def run(self) -> None:
        """Prunes every ten minutes while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            await self.prune(wall_now())
            await asyncio.sleep(_PAUSE_SECONDS)

    async def prune(self, now: dt.datetime) -> int:
        """Removes what is older than it is kept; how many rows."""
        removed = 0
        for prune, kept in (
            (self.prune_outbox, OUTBOX_KEPT),
            (self.prune_requests, REQUESTS_KEPT),
            (self._feed.prune, FEED_KEPT),
        ):
            count = _BATCH
            while count >= _BATCH:
                async with self._database.transaction() as session:
                    await self._lease.check(session)
                    count = await prune(session, now - kept, _BATCH)
                removed += count
        return removed

    async def prune_outbox(self, session: AsyncSession, before: dt.datetime, limit: int) -> int:
        """Removes rows delivered before a time, the oldest first; how many. What waits for delivery stays."""
        table = self._outbox
        time = col(table.deliver_time)
        old = sa.select(col(table.id)).where(time < before).order_by(time).limit(limit)
        ids = (await (await session.connection()).execute(old)).scalars().all()
        return await _delete(session, sa.delete(table).where(col(table.id).in_(ids))) if ids else 0

    async def prune_requests(self, session: AsyncSession, before: dt.datetime, limit: int) -> int:
        """Forgets requests from before a time with their answers, the oldest first; how many."""
        time = col(self._request.create_time)
        ends = sa.select(time).where(time < before).order_by(time).limit(limit).subquery("page")
        connection = await session.connection()
        first, last = (await connection.execute(sa.select(sa.func.min(ends.c[0]), sa.func.max(ends.c[0])))).one()
        found = sa.delete(self._request).where(time.between(first, last))
        return 0 if first is None else await _delete(session, found)


async def _delete(session: AsyncSession, statement: sa.Delete) -> int:
    return (await (await session.connection()).execute(statement)).rowcount

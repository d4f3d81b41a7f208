"""A feed: lines written in the transaction of their cause, numbered in the order of commits.

Ids are given before a commit, so that a reader who had passed one could miss a lower one that was committed later.
Numbers are given to what is committed already, by one writer at a time: whoever has read up to a number has read
everything that will ever be below it. The sequence of a schema that is made anew starts above all that the one before
can have given, so that a cursor of before is below every line.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, notify
from kernel.lease import LeaderLease

_NUMBERED_AT_ONCE: Final = 2_000
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Feed:
    """A table with the columns `id`, `number` and `time`, and beside it the sequence `feed_number`.

    `channel`: what is notified when lines have their numbers.
    """

    table: sa.Table
    channel: str

    async def number(self, session: AsyncSession) -> int:
        """Numbers the oldest lines that have none; how many. Only one transaction at a time may do this."""
        line = self.table.c
        oldest = sa.select(line.id).where(line.number.is_(None)).order_by(line.id).limit(_NUMBERED_AT_ONCE)
        waiting = oldest.subquery("waiting")
        following = sa.Sequence("feed_number", schema=self.table.schema).next_value()
        numbered = sa.select(waiting.c.id, following.label("number")).subquery("numbered")
        statement = sa.update(self.table).values(number=numbered.c.number).where(line.id == numbered.c.id)
        count = (await (await session.connection()).execute(statement)).rowcount
        if count:
            await notify(session, self.channel)
        return count

    async def last_number(self, session: AsyncSession) -> int:
        """The number of the last line; zero where there is none."""
        return await _scalar(session, sa.select(sa.func.coalesce(sa.func.max(self.table.c.number), 0)))

    async def horizon(self, session: AsyncSession) -> int:
        """The number up to which lines may have been pruned: what a reader has read up to there is all there is."""
        sequence = sa.text(f"{self.table.schema}.feed_number")
        given = sa.select(sa.case((sa.column("is_called"), sa.column("last_value")), else_=0)).select_from(sequence)
        first = sa.func.coalesce(sa.func.min(self.table.c.number) - 1, given.scalar_subquery())
        return await _scalar(session, sa.select(first))

    async def prune(self, session: AsyncSession, before: dt.datetime, limit: int) -> int:
        """Removes the oldest lines if they are from before a time; how many."""
        line = self.table.c
        oldest = sa.select(line.number, line.time).where(line.number.is_not(None)).order_by(line.number).limit(limit)
        page = oldest.subquery("page")
        ends = sa.select(sa.func.min(page.c.number), sa.func.max(page.c.number)).where(page.c.time < before)
        connection = await session.connection()
        low, high = (await connection.execute(ends)).one()
        if low is None:
            return 0
        return (await connection.execute(sa.delete(self.table).where(line.number.between(low, high)))).rowcount


class Numbering:
    """The only writer of numbers: its lease is checked in each transaction, so that no two ever overlap."""

    def __init__(self, database: Database, lease: LeaderLease, feed: Feed) -> None:
        self._database = database
        self._lease = lease
        self._feed = feed

    async def run(self) -> None:
        """Numbers while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        notifications = await self._database.notifications(self._feed.channel)
        try:
            while True:
                while await self.number():
                    pass
                await notifications.wait(_POLL_SECONDS)
        finally:
            await notifications.close()

    async def number(self) -> int:
        """Numbers what is committed; how many lines."""
        async with self._database.transaction() as session:
            await self._lease.check(session)
            return await self._feed.number(session)


async def _scalar(session: AsyncSession, statement: sa.Select[Any]) -> int:
    return int((await (await session.connection()).execute(statement)).scalar_one())

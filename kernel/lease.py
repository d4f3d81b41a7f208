"""Leader leases in Postgres: of several replicas one works, and its epoch fences every write it makes.

A lease is free once it has lapsed, and at once when its holder's session has ended, as that of a killed process has.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import Aborted
from kernel.presence import is_gone

_TERM_SECONDS: Final = 6.0
_RENEW_SECONDS: Final = 2.0


class LeaseRecord(SQLModel):
    """Columns of a service's `lease` table; each service declares `class Lease(LeaseRecord, table=True)`."""

    name: str = Field(primary_key=True)
    holder: str
    epoch: int = Field(sa_type=sa.BigInteger)
    expire_time: dt.datetime = Field(sa_type=sa.DateTime(timezone=True))


class LeaseLost(Aborted):
    """Another replica holds the lease now; what was being written is rolled back."""

    def __init__(self, name: str) -> None:
        super().__init__("LEASE_LOST", f"lease {name} is held by another replica")


class LeaderLease:
    """One named lease of one process. The database's clock decides, so replicas' clocks need not agree."""

    def __init__(self, database: Database, table: type[LeaseRecord], name: str) -> None:
        self._database = database
        self._table = table
        self._name = name
        self._holder = database.presence.new_holder()
        self.epoch: int | None = None

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` while the lease is held, again after it was lost, until cancelled."""
        try:
            while True:
                if await self._acquire():
                    await self._work_while_held(work)
                await asyncio.sleep(_RENEW_SECONDS / 2)
        finally:
            await self._release()

    async def _work_while_held(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(work())
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_RENEW_SECONDS)
                if not task.done() and not await self._acquire():
                    break
        finally:
            self.epoch = None if not task.done() else self.epoch
            if not task.done():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LeaseLost):
                await task

    async def _acquire(self) -> bool:
        await self._database.presence.ensure()
        table, now = self._table, sa.func.now()
        term = now + dt.timedelta(seconds=_TERM_SECONDS)
        statement = insert(table).values(name=self._name, holder=self._holder, epoch=1, expire_time=term)
        mine = col(table.holder) == self._holder
        statement = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "holder": self._holder,
                "expire_time": term,
                "epoch": sa.case((mine, col(table.epoch)), else_=col(table.epoch) + 1),
            },
            where=sa.or_(mine, col(table.expire_time) < now, is_gone(col(table.holder))),
        )
        async with self._database.transaction() as session:
            row = (await session.exec(statement.returning(sa.column("epoch")))).first()
        self.epoch = None if row is None else int(row[0])
        return row is not None

    async def _release(self) -> None:
        async with self._database.transaction() as session:
            await session.exec(
                sa.update(self._table)
                .where(col(self._table.name) == self._name, col(self._table.holder) == self._holder)
                .values(expire_time=sa.func.now() - dt.timedelta(seconds=1))
            )

    async def check(self, session: AsyncSession) -> None:
        """In the transaction of a write: LeaseLost unless this process still holds the lease at its epoch."""
        table = self._table
        statement = (
            select(table.epoch)
            .where(
                col(table.name) == self._name,
                col(table.holder) == self._holder,
                col(table.epoch) == self.epoch,
            )
            .with_for_update(read=True)
        )
        if self.epoch is None or (await session.exec(statement)).first() is None:
            raise LeaseLost(self._name)

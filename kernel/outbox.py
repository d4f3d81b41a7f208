"""The transactional outbox: what must start or wake a workflow is a row written with its cause.

The relay delivers rows in order of their id per key, at least once; delivery must be idempotent (workflow ids are
never reused). A row that cannot be delivered now is tried again with growing pauses and never blocks the others.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from prometheus_client import Gauge
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, Notifications, notify
from kernel.errors import BitHedgeError
from kernel.log import get_logger

_POLL_SECONDS: Final = 1.0
_BATCH: Final = 50
_LONGEST_PAUSE_SECONDS: Final = 60
# The row and its transaction are held meanwhile; whoever does not answer must not hold them for long.
_ATTEMPT_SECONDS: Final = 20.0

PENDING = Gauge("bithedge_outbox_pending", "Outbox rows not delivered yet", ["schema"])


class DeliveryError(Exception):
    """A row could not be delivered now; it is tried again."""


class OutboxRecord(SQLModel):
    """Columns of a service's `outbox` table; each service declares `class Outbox(OutboxRecord, table=True)`."""

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    kind: str
    key: str
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=sa.DateTime(timezone=True))
    due_time: dt.datetime = Field(default_factory=wall_now, sa_type=sa.DateTime(timezone=True))
    deliver_time: dt.datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    attempts: int = 0
    last_error: str = ""


Deliver = Callable[[OutboxRecord], Awaitable[None]]


def _channel(table: type[OutboxRecord]) -> str:
    return f"{table.metadata.schema}_outbox"


async def post(session: AsyncSession, table: type[OutboxRecord], kind: str, key: str, payload: dict[str, Any]) -> None:
    """Adds a row in the caller's transaction and wakes the relay at commit."""
    await post_many(session, table, [(kind, key, payload)])


async def post_many(
    session: AsyncSession, table: type[OutboxRecord], rows: Sequence[tuple[str, str, dict[str, Any]]]
) -> None:
    """Adds rows of (kind, key, payload), in their order, as `post` does one."""
    session.add_all([table(kind=kind, key=key, payload=payload) for kind, key, payload in rows])
    await session.flush()
    await notify(session, _channel(table))


class Relay:
    """Delivers the rows of one outbox; several replicas may run, each row is held by one at a time."""

    def __init__(self, database: Database, table: type[OutboxRecord], deliver: Deliver) -> None:
        self._database = database
        self._table = table
        self._deliver = deliver
        self._pending = PENDING.labels(table.metadata.schema or "")

    async def run(self) -> None:
        """Delivers until cancelled."""
        notifications = await self._database.notifications(_channel(self._table))
        try:
            while True:
                await self._drain(notifications)
        finally:
            await notifications.close()

    async def _drain(self, notifications: Notifications) -> None:
        if await self.deliver_due() < _BATCH:
            await notifications.wait(_POLL_SECONDS)

    async def deliver_due(self) -> int:
        """Delivers one batch of due rows; how many were tried."""
        table = self._table
        async with self._database.transaction() as session:
            statement = (
                select(table)
                .where(col(table.deliver_time).is_(None), col(table.due_time) <= wall_now())
                .order_by(col(table.id))
                .limit(_BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = (await session.exec(statement)).all()
            await asyncio.gather(*(self._attempt(row) for row in rows))
            session.add_all(rows)
            await session.flush()
            waiting = select(sa.func.count()).select_from(table).where(col(table.deliver_time).is_(None))
            self._pending.set((await session.exec(waiting)).one())
        return len(rows)

    async def _attempt(self, row: OutboxRecord) -> None:
        row.attempts += 1
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                await self._deliver(row)
        except (DeliveryError, BitHedgeError, OSError, TimeoutError) as error:
            row.last_error = str(error)[:500] or type(error).__name__
            pause = min(2 ** min(row.attempts, 10) / 10, _LONGEST_PAUSE_SECONDS)
            row.due_time = wall_now() + dt.timedelta(seconds=pause)
            get_logger().warning("outbox row not delivered", kind=row.kind, key=row.key, error=row.last_error)
        else:
            row.deliver_time = wall_now()

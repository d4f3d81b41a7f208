"""Deletes what has expired, on a clock. Several replicas may do it at once."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

import sqlalchemy as sa

from kernel.clock import wall_now
from kernel.database import Database
from kernel.log import get_logger
from services.identity import metrics, store

_INTERVAL_SECONDS: Final = 60.0
# Kept for a while after their end, so that who comes late is told why, and a theft can be looked into.
CHALLENGES_KEPT: Final = dt.timedelta(hours=1)
SESSIONS_KEPT: Final = dt.timedelta(days=7)


async def purge_once(database: Database, now: dt.datetime) -> None:
    """One round: purges, and counts the open sessions."""
    async with database.transaction() as session:
        await store.purge(session, now - CHALLENGES_KEPT, now - SESSIONS_KEPT)
        metrics.SESSIONS_OPEN.set(await store.count_open_sessions(session, now))


async def purge_forever(database: Database) -> None:
    """Purges each minute until cancelled; a database that does not answer is tried again."""
    while True:
        try:
            await purge_once(database, wall_now())
        except (sa.exc.SQLAlchemyError, OSError) as error:
            get_logger().warning("purge failed", error=str(error)[:200])
        await asyncio.sleep(_INTERVAL_SECONDS)

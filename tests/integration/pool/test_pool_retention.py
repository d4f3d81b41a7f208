"""What the pool keeps for a time only is removed after it, and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt

import sqlalchemy as sa

from kernel.clock import wall_now
from kernel.lease import LeaderLease
from kernel.retention import FEED_KEPT, Retention
from services.pool.store_feed import LINES
from services.pool.tables import Lease, Outbox, Request
from tests.integration.pool.pool_service import RunningPool
from tests.integration.pool.test_pool_feed import SECONDS, numbered
from tests.integration.pool.withdrawal_words import request


async def test_what_is_kept_for_a_time_only_ends_after_it(pool: RunningPool) -> None:
    """Lines of the feed, answers to requests and delivered starts are gone, and what they told of is still there."""
    await pool.invest("SP-ALICE", 1_000_000)
    await request(pool, 1)
    await numbered(pool)
    async with pool.database.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE pool.outbox SET deliver_time = now() WHERE key LIKE 'deposit%'"))
    lease, done = LeaderLease(pool.database, Lease, "retention"), asyncio.Event()
    retention = Retention(pool.database, lease, Outbox, Request, LINES)

    async def work() -> None:
        await retention.prune(wall_now() + FEED_KEPT + dt.timedelta(minutes=1))
        done.set()
        await asyncio.Event().wait()

    leading = asyncio.ensure_future(lease.lead(work))
    await asyncio.wait_for(done.wait(), SECONDS)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    left = "SELECT count(*) FROM pool."
    tables = ("feed", "request", "outbox", "deposit", "withdrawal")
    assert [await pool.scalar(left + table) for table in tables] == [0, 0, 1, 1, 1]

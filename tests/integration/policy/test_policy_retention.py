"""What is kept for a time only is removed after it, and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt

from kernel.clock import wall_now
from kernel.errors import Aborted
from kernel.lease import LeaderLease
from kernel.retention import FEED_KEPT, OUTBOX_KEPT, REQUESTS_KEPT, Retention
from services.policy.store_feed import LINES
from services.policy.tables import Lease, Outbox, Request
from tests.integration.policy.harness import House
from tests.integration.policy.test_policy_feed import until_numbered

COUNTS = """SELECT (SELECT count(*) FROM policy.outbox), (SELECT count(*) FROM policy.request),
    (SELECT count(*) FROM policy.feed), (SELECT count(*) FROM policy.policy),
    (SELECT count(*) FROM policy.policy_history)"""
LITTLE = dt.timedelta(minutes=1)


async def prune(house: House, now: dt.datetime) -> tuple[int, ...]:
    """Prunes as if it were `now`; how many rows are left of each."""
    lease = LeaderLease(house.database, Lease, "retention")
    done = asyncio.Event()

    async def work() -> None:
        await Retention(house.database, lease, Outbox, Request, LINES).prune(now)
        done.set()
        await asyncio.Event().wait()

    leading = asyncio.ensure_future(lease.lead(work))
    await asyncio.wait_for(done.wait(), 60)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    return tuple((await house.rows(COUNTS))[0])


async def test_each_is_kept_for_its_time(house: House) -> None:
    """Delivered outbox rows, requests and feed end after their time; what waits, policies and history stay."""
    first, _ = await house.create("create-1"), await house.create("create-2")
    await until_numbered(house)
    async with house.database.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE policy.outbox SET deliver_time = now() WHERE key = 'create/{first.name.rpartition('/')[2]}'"
        )
    now = wall_now()
    assert await prune(house, now + OUTBOX_KEPT - LITTLE) == (2, 2, 2, 2, 2)
    assert await prune(house, now + OUTBOX_KEPT + LITTLE) == (1, 2, 2, 2, 2)
    assert await prune(house, now + REQUESTS_KEPT - LITTLE) == (1, 2, 2, 2, 2)
    assert await prune(house, now + REQUESTS_KEPT + LITTLE) == (1, 0, 2, 2, 2)
    assert await prune(house, now + FEED_KEPT + LITTLE) == (1, 0, 0, 2, 2)


async def test_only_the_leader_removes(house: House) -> None:
    """Without its lease nothing is removed."""
    await house.create()
    retention = Retention(house.database, LeaderLease(house.database, Lease, "retention"), Outbox, Request, LINES)
    try:
        await retention.prune(wall_now() + FEED_KEPT * 2)
    except Aborted as error:
        refused = error.reason
    assert refused == "LEASE_LOST"
    assert await house.value("SELECT count(*) FROM policy.request") == 1

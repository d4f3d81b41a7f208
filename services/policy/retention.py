"""Removes what is kept for a time only; of several replicas one does. docs/privacy.md says what and why."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.lease import LeaderLease
from services.policy.store_feed import prune_feed
from services.policy.store_retention import prune_outbox, prune_requests

# A repeat of a request is answered as the first was for so long.
REQUESTS_KEPT: Final = dt.timedelta(days=30)
# For whoever looks into how a workflow was started.
OUTBOX_KEPT: Final = dt.timedelta(days=7)
FEED_KEPT: Final = dt.timedelta(days=90)
_BATCH: Final = 1_000
_PAUSE_SECONDS: Final = 600.0


class Retention:
    """Small batches, each its own transaction, so that nobody waits for them."""

    def __init__(self, database: Database, lease: LeaderLease) -> None:
        self._database = database
        self._lease = lease

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
            (prune_outbox, OUTBOX_KEPT),
            (prune_requests, REQUESTS_KEPT),
            (prune_feed, FEED_KEPT),
        ):
            count = _BATCH
            while count >= _BATCH:
                async with self._database.transaction() as session:
                    await self._lease.check(session)
                    count = await prune(session, now - kept, _BATCH)
                removed += count
        return removed

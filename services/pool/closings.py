"""Closes the heights of the books, so that what stood at any of them is found without what came after."""

from __future__ import annotations

import asyncio
from typing import Final

from kernel.database import Database
from kernel.lease import LeaderLease
from services.pool import store_closings

# What the chain takes back after it was final, and steps that began a moment ago, are of the last few heights.
SETTLED_BLOCKS: Final = 6
_PAUSE_SECONDS: Final = 10.0


class Closings:
    """One of several replicas closes, a height in a transaction: whoever posts waits for one height at most."""

    def __init__(self, database: Database, lease: LeaderLease) -> None:
        self._database = database
        self._lease = lease

    async def run(self) -> None:
        """Closes what can be closed every ten seconds while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            await self.close()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> int:
        """Closes every height that can be; how many."""
        count = 0
        while await self._close_next() is not None:
            count += 1
        return count

    async def _close_next(self) -> int | None:
        async with self._database.transaction() as session:
            await self._lease.check(session)
            return await store_closings.close_next(session, SETTLED_BLOCKS)

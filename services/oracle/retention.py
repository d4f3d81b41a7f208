"""Removes raw observations after a time, a thousand rounds per transaction; never what money was decided on.

Rounds themselves are kept for good, and so are candles: a quote may refer to any round.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from kernel.rpc.tip import TipFollower
from services.oracle import store_retention
from services.oracle.domain.prices import Feed, unix_seconds
from services.oracle.metrics import OBSERVATIONS_REMOVED

_IDLE_SECONDS: Final = 60.0
_ROUNDS_AT_ONCE: Final = 1_000
_DAY_SECONDS: Final = 86_400


class Retention:
    """Works under a lease; `run` is the background task."""

    def __init__(self, database: Database, lease: LeaderLease, tip: TipFollower, observation_days: int) -> None:
        self._database = database
        self._lease = lease
        self._tip = tip
        self._observation_days = observation_days

    async def run(self) -> None:
        """Removes what is due while this replica leads, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            try:
                await self.remove_due()
            except LeaseLost:
                raise
            except BitHedgeError as error:
                get_logger().warning("nothing removed", reason=error.reason, message=error.message)
                await self._tip.changed(_IDLE_SECONDS)
            else:
                await asyncio.sleep(_IDLE_SECONDS)

    async def remove_due(self) -> None:
        """Removes all that is due now; Unavailable before market time is known."""
        horizon = unix_seconds(self._tip.now()) - self._observation_days * _DAY_SECONDS
        for feed in Feed:
            while await self._step(feed, horizon):
                pass

    async def _step(self, feed: Feed, horizon: int) -> bool:
        async with self._database.transaction() as session:
            await self._lease.check(session)
            after = await store_retention.passed(session, feed)
            until = await store_retention.next_step(session, feed, after, horizon, _ROUNDS_AT_ONCE)
            if until is None:
                return False
            removed = await store_retention.remove_observations(session, feed, after, until)
        OBSERVATIONS_REMOVED.labels(feed.name).inc(removed)
        return True

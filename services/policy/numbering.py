"""Numbers the lines of the feed, soon after they are committed; of several replicas one does."""

from __future__ import annotations

from typing import Final

from kernel.database import Database
from kernel.lease import LeaderLease
from services.policy.store_feed import number_lines
from services.policy.tables import CHANGES_CHANNEL

_POLL_SECONDS: Final = 1.0


class Numbering:
    """The only writer of numbers: its lease is checked in each transaction, so that no two ever overlap."""

    def __init__(self, database: Database, lease: LeaderLease) -> None:
        self._database = database
        self._lease = lease

    async def run(self) -> None:
        """Numbers while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        notifications = await self._database.notifications(CHANGES_CHANNEL)
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
            return await number_lines(session)

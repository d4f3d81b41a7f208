"""Wakes the streams of this process when a NOTIFY channel was used; a hint, whoever waits reads again."""

from __future__ import annotations

import asyncio
from typing import Final

from kernel.database import Database

_POLL_SECONDS: Final = 1.0


class Pulse:
    """Counts notifications of a channel. Run `follow` in the background."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._changed = asyncio.Condition()
        self.count = 0

    async def follow(self) -> None:
        """Follows the channel until cancelled; beats once a second at least, for a notification may be lost."""
        notifications = await self._database.notifications(self._channel)
        try:
            while True:
                await notifications.wait(_POLL_SECONDS)
                async with self._changed:
                    self.count += 1
                    self._changed.notify_all()
        finally:
            await notifications.close()

    async def after(self, count: int, timeout_seconds: float = 5.0) -> int:
        """Waits for a beat after `count`, or for the timeout; answers the count then."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: self.count > count)
        except TimeoutError:
            pass
        return self.count

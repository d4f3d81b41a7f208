"""Streams of notifications: one reader of the feed per process wakes those whose provider is told something."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kernel.database import Database
from services.pool.metrics import WATCHERS
from services.pool.store_feed import CHANGES_CHANNEL, LINES, list_told

_POLL_SECONDS: Final = 1.0
# Lines close together are one look at the database.
_GATHER_SECONDS: Final = 0.01
# A reader that has not taken what there is for so long is cut off.
_SLOW_READER_SECONDS: Final = 30.0
_LINES: Final = 1_000


@dataclass(eq=False)
class Watcher:
    """One open stream: whether there is something that it has not read, and since when it has taken nothing."""

    task: asyncio.Task[Any] | None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    waiting_since: float = 0.0

    def wake(self) -> None:
        """There is something to read."""
        if not self.changed.is_set():
            self.show_life()
        self.changed.set()

    async def wait(self) -> None:
        """Returns once there is something that was not there at the last wait."""
        await self.changed.wait()
        self.changed.clear()

    def show_life(self) -> None:
        """The stream has just taken something, so that it is not a slow one."""
        self.waiting_since = time.monotonic()


class Watchers:
    """The open streams of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_principal: dict[str, set[Watcher]] = defaultdict(set)
        self._position = 0

    async def run(self) -> None:
        """Looks at the feed at each notification and every second, until cancelled."""
        notifications = await self._database.notifications(CHANGES_CHANNEL)
        try:
            async with self._database.reading() as session:
                self._position = await LINES.last_number(session)
            # Who came before may have read before the position was.
            self._wake(list(self._by_principal))
            while True:
                await notifications.wait(_POLL_SECONDS)
                await self._look()
                await asyncio.sleep(_GATHER_SECONDS)
        finally:
            await notifications.close()

    @contextlib.contextmanager
    def watching(self, principal: str) -> Iterator[Watcher]:
        """A stream that is woken by all that is numbered from now on."""
        watcher = Watcher(asyncio.current_task())
        self._by_principal[principal].add(watcher)
        WATCHERS.inc()
        try:
            yield watcher
        finally:
            WATCHERS.dec()
            self._by_principal[principal].discard(watcher)
            if not self._by_principal[principal]:
                del self._by_principal[principal]

    async def _look(self) -> None:
        async with self._database.reading() as session:
            while told := await list_told(session, self._position, _LINES):
                self._wake({principal for _, principal in told})
                self._position = told[-1][0]
        now = time.monotonic()
        for watcher in [one for watchers in self._by_principal.values() for one in watchers]:
            if watcher.changed.is_set() and watcher.task and now - watcher.waiting_since > _SLOW_READER_SECONDS:
                watcher.task.cancel()

    def _wake(self, principals: list[str] | set[str]) -> None:
        for principal in principals:
            for watcher in self._by_principal.get(principal, ()):
                watcher.wake()

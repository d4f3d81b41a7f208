"""WatchPolicy: one listener per process wakes the streams whose policy has a new version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from kernel.database import Database
from kernel.errors import InvalidArgument
from services.policy import store
from services.policy.domain.errors import Reason
from services.policy.metrics import WATCHERS
from services.policy.store_queries import Record, list_versions, read_record
from services.policy.tables import CHANGES_CHANNEL

_POLL_SECONDS: Final = 1.0
# Changes close together are delivered as one look at the database.
_GATHER_SECONDS: Final = 0.01
# A reader that has not taken a change for so long is cut off.
_SLOW_READER_SECONDS: Final = 30.0


@dataclass(eq=False)
class _Watcher:
    policy_id: str
    version: int
    task: asyncio.Task[Any] | None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    since: float = 0.0


class Watchers:
    """The open streams of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: set[_Watcher] = set()

    async def run(self) -> None:
        """Looks for new versions at each notification and every second, until cancelled."""
        notifications = await self._database.notifications(CHANGES_CHANNEL)
        try:
            while True:
                await notifications.wait(_POLL_SECONDS)
                if self._watchers:
                    await self._look()
                    await asyncio.sleep(_GATHER_SECONDS)
        finally:
            await notifications.close()

    async def _look(self) -> None:
        ids = sorted({watcher.policy_id for watcher in self._watchers})
        async with self._database.reading() as session:
            versions = await list_versions(session, ids)
        now = time.monotonic()
        for watcher in list(self._watchers):
            if versions.get(watcher.policy_id, 0) > watcher.version and not watcher.changed.is_set():
                watcher.changed.set()
                watcher.since = now
            elif watcher.changed.is_set() and now - watcher.since > _SLOW_READER_SECONDS and watcher.task:
                watcher.task.cancel()

    async def changes(self, policy_id: str, version: int) -> AsyncIterator[Record]:
        """The policy whenever it is newer than `version`, then than what was last yielded, until cancelled.

        Several changes that a reader has not taken arrive as one, with all of them in the history.
        """
        watcher = _Watcher(policy_id, version, asyncio.current_task())
        self._watchers.add(watcher)
        WATCHERS.set(len(self._watchers))
        try:
            while True:
                watcher.changed.clear()
                record = await self._newer(watcher)
                if record is None:
                    await watcher.changed.wait()
                else:
                    watcher.version = record.policy.version
                    yield record
        finally:
            self._watchers.discard(watcher)
            WATCHERS.set(len(self._watchers))

    async def _newer(self, watcher: _Watcher) -> Record | None:
        async with self._database.reading() as session:
            policy = await store.get(session, watcher.policy_id)
            return await read_record(session, policy) if policy.version > watcher.version else None


def resume_version(token: str) -> int:
    """The version that a reader has; zero for an empty token; InvalidArgument for anything else."""
    if not token:
        return 0
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise InvalidArgument.of("resume_token", "not a token of ours", Reason.INVALID_RESUME_TOKEN)
    return int(token)

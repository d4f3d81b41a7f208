"""Takes in intents in groups: whatever calls arrive while one group is stored are the next one.

So the cost of a commit is shared by as many calls as wait for it, and a call that is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from kernel.database import Database
from kernel.errors import ResourceExhausted
from services.chain_gateway import store_intent_batches as store
from services.chain_gateway.store_intent_batches import NewIntent

_MOST_AT_ONCE: Final = 256
_COUNTED_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 5.0


@dataclass
class _Group:
    """Intents that are stored together. `work` answers the ids of those that were."""

    intents: list[NewIntent] = field(default_factory=list)
    work: asyncio.Task[set[str]] | None = None


class IntentBatches:
    """`queue_limit`: how many intents may wait; several replicas together may pass it by what they take in at once."""

    def __init__(self, database: Database, queue_limit: int) -> None:
        self._database = database
        self._queue_limit = queue_limit
        self._group = _Group()
        self._one_at_a_time = asyncio.Lock()
        self._room = 0
        self._counted = float("-inf")

    async def add(self, intent: NewIntent) -> bool:
        """Whether it was stored: False when its key is known, or when there is no room and it may be."""
        if len(self._group.intents) >= _MOST_AT_ONCE:
            self._group = _Group()
        group = self._group
        group.intents.append(intent)
        if group.work is None:
            group.work = asyncio.ensure_future(self._store_in_turn(group))
        # A call that is cancelled takes nothing from the others of its group.
        return intent.id in await asyncio.shield(group.work)

    def full(self) -> ResourceExhausted:
        """What to answer when there was no room and the key is new."""
        message = f"{self._queue_limit} intents wait already"
        return ResourceExhausted("INTENT_QUEUE_FULL", message, retry_after_seconds=_RETRY_SECONDS)

    async def _store_in_turn(self, group: _Group) -> set[str]:
        async with self._one_at_a_time:
            if self._group is group:
                self._group = _Group()
            return await self._store(group.intents)

    async def _store(self, intents: list[NewIntent]) -> set[str]:
        async with self._database.engine.connect() as pooled:
            connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
            # Counting costs more the longer the queue is: near the limit each time, else a few times a second.
            if self._room < len(intents) or time.monotonic() - self._counted > _COUNTED_SECONDS:
                self._room = self._queue_limit - await store.count_queued(connection, self._queue_limit)
                self._counted = time.monotonic()
            chosen = intents[: max(0, self._room)]
            added = await store.add_all(connection, chosen) if chosen else set()
        self._room -= len(added)
        return added

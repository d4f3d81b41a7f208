"""Takes in intents in groups: whatever calls arrive while one group is stored are the next one.

So the cost of a commit is shared by as many calls as wait for it, and a call that is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from kernel.database import Database
from kernel.errors import ResourceExhausted
from services.chain_gateway import store_intent_batches as store
from services.chain_gateway.store_intent_batches import NewIntent

_MOST_AT_ONCE: Final = 256
_COUNTED_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 5.0
_Waiting = tuple[NewIntent, asyncio.Future[bool]]


class IntentBatches:
    """`queue_limit`: how many intents may wait; several replicas together may pass it by what they take in at once."""

    def __init__(self, database: Database, queue_limit: int) -> None:
        self._database = database
        self._queue_limit = queue_limit
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[set[str]] | None = None
        self._room = 0
        self._counted = float("-inf")

    async def add(self, intent: NewIntent) -> bool:
        """Whether it was stored: False when its key is known, or when there is no room and it may be."""
        # Of its own: a call that is cancelled takes nothing from the others of its group.
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((intent, stored))
        if self._work is None:
            self._start()
        return await stored

    def full(self) -> ResourceExhausted:
        """What to answer when there was no room and the key is new."""
        message = f"{self._queue_limit} intents wait already"
        return ResourceExhausted("INTENT_QUEUE_FULL", message, retry_after_seconds=_RETRY_SECONDS)

    def _start(self) -> None:
        group, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
        self._work = self._storing([intent for intent, _ in group])
        self._work.add_done_callback(lambda work: self._answer(group, work))

    def _storing(self, intents: list[NewIntent]) -> asyncio.Task[set[str]]:
        return asyncio.ensure_future(self._store(intents))

    def _answer(self, group: list[_Waiting], work: asyncio.Task[set[str]]) -> None:
        """Answers each call what became of its own intent, and stores the next group."""
        error = None if work.cancelled() else work.exception()
        for intent, stored in group:
            if stored.done():
                continue
            if work.cancelled():
                stored.cancel()
            elif error is not None:
                stored.set_exception(error)
            else:
                stored.set_result(intent.id in work.result())
        self._work = None
        if self._waiting:
            self._start()

    async def _store(self, intents: list[NewIntent]) -> set[str]:
        # Counting costs more the longer the queue is: near the limit each time, else a few times a second.
        if self._room < len(intents) or time.monotonic() - self._counted > _COUNTED_SECONDS:
            self._room = self._queue_limit - await store.count_queued(self._database, self._queue_limit)
            self._counted = time.monotonic()
        chosen = intents[: max(0, self._room)]
        added = await store.add_all(self._database, chosen) if chosen else set()
        self._room -= len(added)
        return added

"""Which of the watched intents changed: one statement for all of them, however many streams there are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kernel.database import Database
from services.chain_gateway import store_intents
from services.chain_gateway.pulse import Pulse

# Changes close together are found by one look.
_GATHER_SECONDS: Final = 0.02


class IntentChanges:
    """Wakes the streams of an intent when anything changed that they tell. Run `run` in the background."""

    def __init__(self, database: Database, pulse: Pulse) -> None:
        self._database = database
        self._pulse = pulse
        self._streams: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._versions: dict[str, str] = {}

    async def run(self) -> None:
        """Looks at each beat, until cancelled."""
        while True:
            beat = self._pulse.count
            await self.look()
            await self._pulse.after(beat)
            await asyncio.sleep(_GATHER_SECONDS)

    async def look(self) -> None:
        """Wakes whose intent is of another version than at the last look; also whose intent is looked at first."""
        if not self._streams:
            return
        versions = await store_intents.versions(self._database, list(self._streams))
        for intent_id, version in versions.items():
            if intent_id in self._streams and self._versions.get(intent_id) != version:
                self._versions[intent_id] = version
                for changed in self._streams[intent_id]:
                    changed.set()

    @contextmanager
    def of(self, intent_id: str) -> Iterator[asyncio.Event]:
        """What is set at a change, and cleared by the one stream that has it, before it reads."""
        changed = asyncio.Event()
        self._streams[intent_id].add(changed)
        try:
            yield changed
        finally:
            self._streams[intent_id].discard(changed)
            if not self._streams[intent_id]:
                del self._streams[intent_id]
                self._versions.pop(intent_id, None)

"""Live rounds: one reader of the database per process, one memory of the newest for all its streams, slow streams cut
off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from kernel.database import Database
from kernel.errors import InvalidArgument, ResourceExhausted
from services.oracle import store
from services.oracle.domain.prices import Feed, Price

_POLL_SECONDS: Final = 1.0
_BATCH: Final = 500
_KEPT: Final = 1000
_LONGEST_RESUME: Final = 10_000


class _Recent:
    """The newest rounds of one feed, held once for all its streams; each stream knows how many it has passed."""

    def __init__(self) -> None:
        self.count = 0
        self._prices: deque[Price] = deque(maxlen=_KEPT)
        self._added = asyncio.Event()

    @property
    def latest(self) -> Price | None:
        return self._prices[-1] if self._prices else None

    def add(self, price: Price) -> None:
        self._prices.append(price)
        self.count += 1
        # Whoever waits now is woken; whoever waits later waits for the next.
        self._added.set()
        self._added.clear()

    async def beyond(self, passed: int) -> Sequence[Price]:
        """The rounds after the first `passed`, once there are some; ResourceExhausted if one is no longer held."""
        while self.count == passed:
            await self._added.wait()
        missing = self.count - passed
        if missing == 1:
            return (self._prices[-1],)
        if missing > len(self._prices):
            raise ResourceExhausted("READER_TOO_SLOW", "the reader does not keep up; resume from its token")
        return list(self._prices)[-missing:]


class RoundWatch:
    """Rounds as they are stored. Run `run` in the background."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent = {feed: _Recent() for feed in Feed}
        self._reading = asyncio.Event()

    async def run(self) -> None:
        """Reads new rounds and hands them to the watchers, until cancelled."""
        notifications = await self._database.notifications(store.ROUND_CHANNEL)
        try:
            while True:
                await self._read()
                self._reading.set()
                await notifications.wait(_POLL_SECONDS)
        finally:
            await notifications.close()

    async def _read(self) -> None:
        for feed in Feed:
            count = _BATCH
            while count == _BATCH:
                count = await self._read_batch(feed)

    async def _read_batch(self, feed: Feed) -> int:
        recent = self._recent[feed]
        async with self._database.reading() as session:
            if not self._reading.is_set() and recent.latest is None:
                latest = await store.latest_price(session, feed)
                prices: Sequence[Price] = () if latest is None else (latest,)
            else:
                last = 0 if recent.latest is None else recent.latest.round
                prices = await store.prices_after(session, feed, last, _BATCH)
        for price in prices:
            recent.add(price)
        return len(prices)

    async def latest(self, feed: Feed) -> Price | None:
        """The newest round handed out, whatever its status; None before the first. Costs no query."""
        if not self._reading.is_set():
            await self._reading.wait()
        return self._recent[feed].latest

    async def watch(self, feed: Feed, after: int | None) -> AsyncGenerator[Price, None]:
        """The latest round, or every round after `after`; then each new one, in order, without a gap.

        Every stream is given the same object for the same round. ResourceExhausted when the reader does not keep up,
        InvalidArgument when `after` lies too far back.
        """
        # Before the reader knows where it starts, a round could fall between the backlog and what follows.
        await self._reading.wait()
        recent = self._recent[feed]
        passed, last = recent.count, after or 0
        if after is None and recent.latest is not None:
            last = recent.latest.round
            yield recent.latest
        elif after is not None:
            async for price in self._backlog(feed, after):
                last = price.round
                yield price
        while True:
            for price in await recent.beyond(passed):
                passed += 1
                if price.round > last:
                    last = price.round
                    yield price

    async def _backlog(self, feed: Feed, after: int) -> AsyncIterator[Price]:
        sent, count = 0, _BATCH
        while count == _BATCH:
            async with self._database.reading() as session:
                prices = await store.prices_after(session, feed, after, _BATCH)
            count = len(prices)
            sent += count
            if sent > _LONGEST_RESUME:
                raise InvalidArgument.of("resume_token", "lies too far back; list the rounds instead", "RESUME_TOO_OLD")
            for price in prices:
                after = price.round
                yield price

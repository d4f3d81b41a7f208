"""Live rounds: one reader of the database per process, a bounded queue per watcher, slow watchers cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from kernel.database import Database
from kernel.errors import InvalidArgument, ResourceExhausted
from services.oracle import store
from services.oracle.domain.prices import Feed, Price

_POLL_SECONDS: Final = 1.0
_BATCH: Final = 500
_QUEUE: Final = 1000
_LONGEST_RESUME: Final = 10_000


class _Watcher:
    """One stream's queue; `overflowed` once it did not keep up."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Price] = asyncio.Queue(_QUEUE)
        self.overflowed = False

    def offer(self, price: Price) -> None:
        # After the first that is lost none is taken any more: what the reader got must have no gap.
        if self.overflowed or self.queue.full():
            self.overflowed = True
        else:
            self.queue.put_nowait(price)


class RoundWatch:
    """Rounds as they are stored. Run `run` in the background."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[Feed, set[_Watcher]] = {feed: set() for feed in Feed}
        self._last: dict[Feed, int] = {}
        self._latest: dict[Feed, Price] = {}
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
        async with self._database.reading() as session:
            if feed not in self._last:
                latest = await store.latest_price(session, feed)
                self._last[feed] = 0 if latest is None else latest.round
                if latest is not None:
                    self._latest[feed] = latest
            prices = await store.prices_after(session, feed, self._last[feed], _BATCH)
        for price in prices:
            self._last[feed], self._latest[feed] = price.round, price
            for watcher in self._watchers[feed]:
                watcher.offer(price)
        return len(prices)

    async def latest(self, feed: Feed) -> Price | None:
        """The newest round handed out, whatever its status; None before the first. Costs no query."""
        if not self._reading.is_set():
            await self._reading.wait()
        return self._latest.get(feed)

    def last_round(self, feed: Feed) -> int:
        """The newest round handed out; 0 before the first."""
        return self._last.get(feed, 0)

    async def watch(self, feed: Feed, after: int | None) -> AsyncGenerator[Price, None]:
        """The latest round, or every round after `after`; then each new one, in order, without a gap.

        ResourceExhausted when the reader does not keep up, InvalidArgument when `after` lies too far back.
        """
        # Before the reader knows where it starts, a round could fall between the backlog and the queue.
        await self._reading.wait()
        watcher = _Watcher()
        self._watchers[feed].add(watcher)
        try:
            last = after or 0
            async for price in self._backlog(feed, after):
                last = price.round
                yield price
            while True:
                price = await watcher.queue.get()
                if price.round > last:
                    last = price.round
                    yield price
                if watcher.overflowed and watcher.queue.empty():
                    raise ResourceExhausted("READER_TOO_SLOW", "the reader does not keep up; resume from its token")
        finally:
            self._watchers[feed].discard(watcher)

    async def _backlog(self, feed: Feed, after: int | None) -> AsyncIterator[Price]:
        if after is None:
            async with self._database.reading() as session:
                latest = await store.latest_price(session, feed)
            if latest is not None:
                yield latest
            return
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

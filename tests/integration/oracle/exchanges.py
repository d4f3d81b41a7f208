"""Live prices on stand-ins of the exchanges: real ccxt, real sockets, a market time that the test sets."""

from __future__ import annotations

import asyncio
import datetime as dt
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY

from deploy.exchanges.faults import ANY, Fault, Place
from deploy.exchanges.market import Market
from deploy.exchanges.server import ExchangeServer
from deploy.exchanges.sources import sources_document
from services.oracle.domain.prices import Feed, Observation, Rejection
from services.oracle.feeds.live.configuration import read_sources
from services.oracle.feeds.live.prices import LivePrices
from tests.integration.oracle.harness import START, eventually

DATA: Final = Path(__file__).resolve().parents[3] / "data"
NAMES: Final = ("kraken", "coinbase", "bitstamp", "binance", "okx")
MAX_AGE_SECONDS: Final = 60
# Short, so that nobody waits; what a test expects is awaited, however long it takes.
TIMING: Final[Mapping[str, float]] = {
    "poll_seconds": 0.3,
    "silent_seconds": 0.6,
    "reconnect_seconds": 2,
    "timeout_seconds": 1,
    "longest_backoff_seconds": 0.5,
}


@dataclass(frozen=True)
class Exchanges:
    """The stand-ins and the source that reads them."""

    server: ExchangeServer
    source: LivePrices

    @property
    def now(self) -> dt.datetime:
        """Market time."""
        return self.server.market.now

    async def observe(self, feed: Feed = Feed.BTC_USD) -> dict[str, Observation]:
        """What every exchange says now."""
        return {one.source: one for one in await self.source.observe(feed, self.now)}

    async def advance(self, seconds: float) -> None:
        """Moves market time on."""
        await self.server.move(self.now + dt.timedelta(seconds=seconds))

    async def fault(self, exchange: str, fault: Fault | None, pair: str = ANY, transport: str = ANY) -> None:
        """Begins or ends a fault."""
        await self.server.set_fault(Place(exchange, pair, transport), fault)

    async def all_fresh(self, but: Sequence[str] = ()) -> dict[str, Observation]:
        """What everybody says, once all but some have spoken at this moment of market time: feeds and rates."""

        async def fresh() -> bool:
            found = [one for feed in Feed for one in (await self.observe(feed)).values()]
            found += self.source.rates("USDT", self.now)
            return all(one.fault is None and one.observe_time == self.now for one in found if one.source not in but)

        await soon(fresh)
        return await self.observe()

    async def rejected(self, exchange: str, fault: Rejection | None, feed: Feed = Feed.BTC_USD) -> Observation:
        """What an exchange says once it is rejected so; None: once it has a price."""

        async def reached() -> bool:
            return (await self.observe(feed))[exchange].fault is fault

        await soon(reached)
        return (await self.observe(feed))[exchange]


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until true, far longer than anything takes: a machine that stands still for a while breaks no test."""
    await eventually(condition, seconds=120)


@asynccontextmanager
async def running_exchanges(
    start: dt.datetime = START, market_time: Callable[[], dt.datetime] | None = None
) -> AsyncIterator[Exchanges]:
    """Stand-ins that are being read, at a market time of their own or another's."""
    market = Market(DATA, start)
    server = ExchangeServer(market)
    await server.start()
    source = LivePrices(
        read_sources(tomllib.loads(sources_document(server.address, TIMING))),
        MAX_AGE_SECONDS,
        market_time or (lambda: market.now),
    )
    reading = asyncio.ensure_future(source.run())
    try:
        yield Exchanges(server, source)
        assert not reading.done(), reading
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await server.stop()


def counted(name: str, **labels: str) -> float:
    """A figure of this process."""
    return REGISTRY.get_sample_value(f"bithedge_oracle_{name}", labels) or 0.0

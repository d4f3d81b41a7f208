"""A `PriceSource` over real exchanges: answers at once from the newest readings, in USD.

A pair quoted in another currency, as BTC/USDT, is converted by the rate that exchanges showed for it at the same
moment: never by 1. The rate is the median of several sources, made like a price; without one the pair is rejected as
NO_CONVERSION. A converted observation is as old as the oldest figure in it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence

from kernel.units import BPS, INT64_MAX, USD_E8
from services.oracle.domain.aggregation import Aggregate, AggregationRules, aggregate
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, Observation, PriceStatus, Rejection
from services.oracle.domain.votes import VotingRules
from services.oracle.feeds.live.bars import LiveBars
from services.oracle.feeds.live.configuration import LiveSources
from services.oracle.feeds.live.exchange import Exchange
from services.oracle.feeds.live.follower import ExchangeFollower
from services.oracle.feeds.live.history import ReadingHistory


class LivePrices:
    """Every configured exchange; `run` is the background task. A reading older than `max_age_seconds` of market time
    gives way to what hinders its source."""

    def __init__(self, sources: LiveSources, max_age_seconds: float, market_time: Callable[[], dt.datetime]) -> None:
        self._sources = sources
        self._rate_rules = AggregationRules(
            minimum_sources=sources.rates.minimum_sources,
            max_age_seconds=int(max_age_seconds),
            outlier_band_bps=sources.rates.band_bps,
            voting=VotingRules(max_source_share_bps=BPS),
        )
        self._histories = {
            (one.name, symbol): ReadingHistory(max_age_seconds) for one in sources.exchanges for symbol in one.symbols
        }
        self._exchanges = [Exchange(one, sources.timing) for one in sources.exchanges]
        self._followers = [
            ExchangeFollower(one, self._of(one.sources.name), sources.timing, market_time) for one in self._exchanges
        ]
        self._bars = LiveBars(self._exchanges, market_time)

    async def run(self) -> None:
        """Reads until cancelled."""
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run())
            group.create_task(self._bars.run())

    async def observe(self, feed: Feed, at: dt.datetime) -> Sequence[Observation]:
        """One observation of each exchange that is asked for the feed, with a price or a fault."""
        found = []
        for one in self._sources.exchanges:
            if feed in one.pairs:
                symbol = one.pairs[feed]
                found.append(self._in_usd(self._read(one.name, symbol, at), symbol.split("/")[1], at))
        return found

    def rates(self, currency: str, at: dt.datetime) -> Sequence[Observation]:
        """What each exchange that is asked says a currency is worth in USD."""
        return [
            self._read(one.name, one.rates[currency], at) for one in self._sources.exchanges if currency in one.rates
        ]

    def is_synthetic(self, feed: Feed) -> bool:
        """True where stand-ins show invented prices."""
        return feed in self._sources.synthetic

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """From the candles of exchanges that quote the feed in USD."""
        return self._bars.of(feed)

    def _of(self, exchange: str) -> dict[str, ReadingHistory]:
        return {symbol: history for (name, symbol), history in self._histories.items() if name == exchange}

    def _read(self, exchange: str, symbol: str, at: dt.datetime) -> Observation:
        """The reading in the pair's own quote currency."""
        reading = self._histories[exchange, symbol].at(at)
        return Observation(exchange, reading.price_e8, reading.time, self._sources.simulated, reading.fault)

    def _in_usd(self, one: Observation, currency: str, at: dt.datetime) -> Observation:
        if currency == "USD" or one.fault is not None:
            return one
        rate = self._rate(currency, at)
        if rate.status is not PriceStatus.OK or rate.first_observe_time is None:
            return Observation(one.source, 0, one.observe_time, one.simulated, Rejection.NO_CONVERSION)
        price = one.price_usd_e8 * rate.price_usd_e8 // USD_E8
        if price > INT64_MAX:
            return Observation(one.source, 0, one.observe_time, one.simulated, Rejection.OUT_OF_RANGE)
        time = min(one.observe_time, rate.first_observe_time)
        return Observation(one.source, price, time, one.simulated, converted_by=f"{currency}/USD")

    def _rate(self, currency: str, at: dt.datetime) -> Aggregate:
        return aggregate(self.rates(currency, at), at, self._rate_rules)

"""The past of the prices: candles kept while rounds are made, averages and volatilities of any window."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import Unavailable
from kernel.lease import LeaderLease
from kernel.rpc.tip import TipFollower
from services.oracle import estimates, store, store_candles
from services.oracle.domain.candles import Candle, CandleSpan, candles_of
from services.oracle.domain.history import VolatilityEstimate
from services.oracle.domain.prices import Feed, Price, unix_seconds
from services.oracle.domain.realised import RealisedVolatility, realised_volatility
from services.oracle.domain.window import (
    Stretch,
    Weight,
    WindowAverage,
    check_window,
    stretches,
    weight_of_rounds,
    window_average,
)
from services.oracle.feeds import PriceSource

_FOLDED_AT_ONCE: Final = 5_000


async def keep_candles(session: AsyncSession, prices: Sequence[Price], interval_seconds: int) -> None:
    """Folds new rounds into the candles, in the transaction that stores them."""
    await store_candles.fold(session, candles_of(prices, interval_seconds))


async def fold_missing(database: Database, lease: LeaderLease, interval_seconds: int) -> None:
    """Folds what a release without candles stored, some thousand rounds per transaction; the leader's first step."""
    for feed in Feed:
        count = _FOLDED_AT_ONCE
        while count == _FOLDED_AT_ONCE:
            async with database.transaction() as session:
                await lease.check(session)
                last = await store_candles.last_folded(session, feed)
                prices = await store.ok_prices_after(session, feed, last, _FOLDED_AT_ONCE)
                await keep_candles(session, prices, interval_seconds)
            count = len(prices)


@dataclass(frozen=True)
class PriceHistory:
    """Answers about windows of market time, from what is stored and, for days before that, from the source."""

    database: Database
    source: PriceSource
    tip: TipFollower
    interval_seconds: int

    def now_seconds(self) -> int:
        """Market time in whole Unix seconds; Unavailable before it is known."""
        return unix_seconds(self.tip.now())

    async def twap(self, feed: Feed, start: int, end: int, minimum_coverage_bps: int) -> WindowAverage:
        """The average of (start, end]. InvalidArgument for no window, FailedPrecondition for too little coverage."""
        check_window(start, end)
        total = Weight()
        async with self.database.reading() as session:
            for stretch in stretches(start, end, self.interval_seconds):
                total += await self._weight(session, feed, stretch)
        return window_average(total, start, end, minimum_coverage_bps)

    async def _weight(self, session: AsyncSession, feed: Feed, stretch: Stretch) -> Weight:
        if stretch.span is not None:
            return await store_candles.weight_of(session, feed, stretch)
        # A round stands for the interval before it: the last one of a stretch may lie behind its end.
        until = stretch.end + self.interval_seconds - 1
        prices = await store.prices_between(session, feed, stretch.start, until)
        return weight_of_rounds(prices, stretch.start, stretch.end, self.interval_seconds)

    async def volatility(self, feed: Feed, at: dt.datetime | None) -> VolatilityEstimate:
        """What quotes are made from: the daily bars before the market day.

        With `at` the estimate of that market time's day, the same whenever it is asked for; Unavailable before then.
        """
        now = self.tip.now()
        if at is not None and at > now:
            raise Unavailable("NOT_YET", f"market time is {now}")
        async with self.database.reading() as session:
            if at is None:
                return await estimates.estimate(session, self.source, feed, now)
            return await estimates.estimate_of_day(session, self.source, feed, at)

    async def window_volatility(self, feed: Feed, span: CandleSpan, count: int) -> RealisedVolatility:
        """That of the last `count` complete bars; Unavailable when more than one in ten is missing."""
        end = self.now_seconds() // span * span
        if span is CandleSpan.ONE_DAY:
            async with self.database.reading() as session:
                known = await estimates.daily_bars(session, self.source, feed, self.tip.now())
            bars = [bar for bar in known if (bar.end - end) // span in range(1 - count, 1)]
            values = [(bar.close_usd_e8, bar.high_usd_e8, bar.low_usd_e8, bar.end) for bar in bars]
        else:
            candles = [one for one in await self._newest(feed, span, count) if one.start >= end - count * span]
            values = [(one.close_usd_e8, one.high_usd_e8, one.low_usd_e8, one.start + span) for one in candles]
        if 10 * len(values) < 9 * count:
            raise Unavailable("HISTORY_TOO_SHORT", f"{len(values)} of the window's {count} bars are there")
        return realised_volatility(values, span)

    async def _newest(self, feed: Feed, span: CandleSpan, count: int) -> Sequence[Candle]:
        """The newest complete candles, ascending."""
        end = self.now_seconds() // span * span
        async with self.database.reading() as session:
            return (await store_candles.candles_before(session, feed, span, 0, end, count))[::-1]

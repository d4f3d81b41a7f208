"""The volatility that quotes and shares are priced with: kept for each market day, for whoever asks about it later.

A source may tell of the same days differently at another time, and forgets old ones. What shares are priced with must
be the same for whoever asks whenever, so that the first round of a day keeps the estimate of that day.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import Unavailable
from services.oracle import store_candles
from services.oracle.domain.candles import CandleSpan
from services.oracle.domain.history import DailyBar, VolatilityEstimate, estimate_volatility, with_own_days
from services.oracle.domain.prices import Feed, unix_seconds
from services.oracle.feeds import PriceSource

_OWN_DAYS: Final = 400


async def daily_bars(session: AsyncSession, source: PriceSource, feed: Feed, at: dt.datetime) -> Sequence[DailyBar]:
    """Those of the source, and of our own candles for later days that had ended at market time `at`."""
    bars, today = source.daily_bars(feed), at.date()
    if bars and (today - bars[-1].day).days <= 1:
        return bars
    midnight = unix_seconds(at) // CandleSpan.ONE_DAY * CandleSpan.ONE_DAY
    candles = await store_candles.candles_before(session, feed, CandleSpan.ONE_DAY, 0, midnight, _OWN_DAYS)
    return with_own_days(bars, candles[::-1], today)


async def estimate(session: AsyncSession, source: PriceSource, feed: Feed, at: dt.datetime) -> VolatilityEstimate:
    """From the daily bars before the market day of `at`, as they are known now; Unavailable where they are too few."""
    return estimate_volatility(await daily_bars(session, source, feed, at), at)


async def estimate_of_day(
    session: AsyncSession, source: PriceSource, feed: Feed, at: dt.datetime
) -> VolatilityEstimate:
    """The one that was kept on the market day of `at`; as `estimate` for a day on which there was none to keep."""
    kept = await store_candles.kept_estimate(session, feed, at.date())
    return await estimate(session, source, feed, at) if kept is None else kept


async def keep_estimates(session: AsyncSession, source: PriceSource, times: Sequence[dt.datetime]) -> None:
    """Keeps those of the market days of new rounds, in the transaction that stores these; what is kept stays.

    Where there is no estimate yet, such as before a source has told of its days, the next round tries again.
    """
    first = {time.date(): time for time in reversed(times)}
    for day, time in first.items():
        for feed in Feed:
            if await store_candles.kept_estimate(session, feed, day) is None:
                with contextlib.suppress(Unavailable):
                    found = await estimate(session, source, feed, time)
                    await store_candles.keep_estimate(session, feed, day, found)

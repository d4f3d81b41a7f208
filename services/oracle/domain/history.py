"""Daily bars of the past, and the volatilities that quotes are made from.

Only days that had ended before the market day count: a replay must not know its own future.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.errors import Unavailable
from services.oracle.domain import volatility
from services.oracle.domain.candles import Candle, CandleSpan
from services.oracle.domain.prices import boundary_time

_SHORT_DAYS: Final = 30
_LONG_DAYS: Final = 90
_FEWEST_DAYS: Final = 10
_OLDEST_DAYS: Final = 4


@dataclass(frozen=True)
class DailyBar:
    """One UTC day in USD e8."""

    day: dt.date
    open_usd_e8: int
    high_usd_e8: int
    low_usd_e8: int
    close_usd_e8: int

    @property
    def end(self) -> int:
        """The midnight at which it ends, in Unix seconds."""
        midnight = dt.datetime.combine(self.day, dt.time(), dt.UTC)
        return int(midnight.timestamp()) + CandleSpan.ONE_DAY


@dataclass(frozen=True)
class VolatilityEstimate:
    """Per year of 365 days, 1.0 is 100%. `as_of` is the end of the last day that counted, `source` the windows."""

    close_to_close_30d: float
    close_to_close_90d: float
    ewma: float
    parkinson_30d: float
    source: str
    as_of: dt.datetime


def with_own_days(bars: Sequence[DailyBar], candles: Sequence[Candle], today: dt.date) -> Sequence[DailyBar]:
    """The source's bars, and our own candles for complete days after them that OK rounds cover at least half of."""
    last = bars[-1].day if bars else dt.date.min
    own = [
        DailyBar(day, one.open_usd_e8, one.high_usd_e8, one.low_usd_e8, one.close_usd_e8)
        for one in candles
        if last < (day := boundary_time(one.start).date()) < today and 2 * one.covered_seconds >= one.span
    ]
    return [*bars, *own]


def estimate_volatility(bars: Sequence[DailyBar], now: dt.datetime) -> VolatilityEstimate:
    """The estimate at market time `now` from the bars of days before its day, which are in order.

    A window longer than the history shrinks to it, and `source` says so. Raises Unavailable for fewer than ten
    returns, or when the last day is more than four days back.
    """
    known = [bar for bar in bars if bar.day < now.date()]
    if len(known) <= _FEWEST_DAYS:
        raise Unavailable("HISTORY_TOO_SHORT", f"only {len(known)} complete days before {now.date()}")
    last = known[-1].day
    if now.date() - last > dt.timedelta(days=_OLDEST_DAYS):
        raise Unavailable("HISTORY_OUTDATED", f"the last complete day is {last}, market time is {now.date()}")
    closes = [float(bar.close_usd_e8) for bar in known]
    highs, lows = [float(bar.high_usd_e8) for bar in known], [float(bar.low_usd_e8) for bar in known]
    short, long = (min(days, len(closes) - 1) for days in (_SHORT_DAYS, _LONG_DAYS))
    return VolatilityEstimate(
        volatility.close_to_close(closes, short),
        volatility.close_to_close(closes, long),
        volatility.ewma(closes),
        volatility.parkinson(highs, lows, short),
        f"close-to-close over {short} and {long} days, EWMA with decay {volatility.EWMA_DECAY}, Parkinson over {short}",
        dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), dt.UTC),
    )

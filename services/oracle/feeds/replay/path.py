"""A daily bar stretched over its day.

A falling day (close below open) goes open → high → low → close, any other open → low → high → close: straight
lines between the open at 00:00, the first extreme at 08:00, the second at 16:00 and the close at 23:59, where
it stays for the last minute. So every price of the bar is met at a known time, and nothing beyond them is. How
the price really moved within the day is not recorded.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from services.oracle.domain.history import DailyBar

_KNOT_SECONDS: Final = (0, 8 * 3600, 16 * 3600, 86_340)


def price_at(bar: DailyBar, time: dt.datetime) -> int:
    """The path's price in USD e8 at a time of the bar's day, rounded down."""
    first, second = bar.low_usd_e8, bar.high_usd_e8
    if bar.close_usd_e8 < bar.open_usd_e8:
        first, second = second, first
    prices = (bar.open_usd_e8, first, second, bar.close_usd_e8)
    microseconds = (time - dt.datetime.combine(bar.day, dt.time(), dt.UTC)) // dt.timedelta(microseconds=1)
    for index in range(3):
        start, end = (second * 1_000_000 for second in _KNOT_SECONDS[index : index + 2])
        if microseconds <= end:
            rise = (prices[index + 1] - prices[index]) * (microseconds - start)
            return prices[index] + rise // (end - start)
    return bar.close_usd_e8

"""Where observations come from: one folder per kind of exchange, all behind `PriceSource`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, Observation


class PriceSource(Protocol):
    """Several sources of every feed, asked together."""

    async def observe(self, feed: Feed, at: dt.datetime) -> Sequence[Observation]:
        """What each source says at market time `at`.

        A source that was asked in vain says so by its observation's `fault`; one that holds nothing for that time, as
        a recording without that day, is left out.
        """
        ...

    def is_synthetic(self, feed: Feed) -> bool:
        """True if the history behind the feed was invented."""
        ...

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """The feed's daily history, oldest first."""
        ...

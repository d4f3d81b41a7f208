"""Daily bars of a feed from the candles of the exchanges that quote it in USD.

Each figure of a day is the median of theirs, the lower middle of an even number, which keeps low ≤ open, close ≤ high.
They are asked for once market time is known and after every UTC midnight, and kept in memory: the exchanges hold them
for years.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kernel.errors import Unavailable
from kernel.log import get_logger
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed
from services.oracle.feeds.live.exchange import Exchange
from services.oracle.feeds.live.quote import ReadingFault

_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 60.0


class LiveBars:
    """Bars by feed; `run` is the background task."""

    def __init__(self, exchanges: Sequence[Exchange], market_time: Callable[[], dt.datetime]) -> None:
        self._exchanges = exchanges
        self._market_time = market_time
        # By feed and exchange: the day before which every bar is known, and the bars.
        self._known: dict[tuple[Feed, str], tuple[dt.date, Sequence[DailyBar]]] = {}
        self._bars: dict[Feed, Sequence[DailyBar]] = {feed: [] for feed in Feed}

    def of(self, feed: Feed) -> Sequence[DailyBar]:
        """Complete days, oldest first; none until an exchange has answered."""
        return self._bars[feed]

    async def run(self) -> None:
        """Asks until cancelled, every exchange apart; what failed is asked again."""
        await asyncio.gather(*(self._follow(exchange) for exchange in self._exchanges))

    async def _follow(self, exchange: Exchange) -> None:
        wanted = {feed: symbol for feed, symbol in exchange.sources.pairs.items() if symbol.endswith("/USD")}
        while wanted:
            pause = _LOOK_SECONDS
            try:
                for feed, symbol in wanted.items():
                    await self._refresh(exchange, feed, symbol)
            except Unavailable:
                pass
            except ReadingFault as fault:
                get_logger().warning("no daily bars", source=exchange.sources.name, error=str(fault))
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _refresh(self, exchange: Exchange, feed: Feed, symbol: str) -> None:
        now, key = self._market_time(), (feed, exchange.sources.name)
        if not exchange.lists(symbol) or (key in self._known and self._known[key][0] == now.date()):
            return
        self._known[key] = (now.date(), await exchange.daily_bars(symbol, now))
        self._bars[feed] = merged([bars for (kind, _), (_, bars) in self._known.items() if kind is feed])


def merged(histories: Sequence[Sequence[DailyBar]]) -> Sequence[DailyBar]:
    """One history of several: of each day the medians over whoever has it."""
    by_day: dict[dt.date, list[DailyBar]] = {}
    for history in histories:
        for bar in history:
            by_day.setdefault(bar.day, []).append(bar)
    return [_merge(day, by_day[day]) for day in sorted(by_day)]


def _merge(day: dt.date, bars: Sequence[DailyBar]) -> DailyBar:
    figures: Mapping[str, int] = {
        name: sorted(getattr(bar, name) for bar in bars)[(len(bars) - 1) // 2]
        for name in ("open_usd_e8", "high_usd_e8", "low_usd_e8", "close_usd_e8")
    }
    return DailyBar(day, **figures)

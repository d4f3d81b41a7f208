"""One exchange as the oracle uses it: its markets, quotes by websocket and REST, and daily bars.

Every failure is a ReadingFault.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from kernel.units import USD_E8
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Rejection
from services.oracle.feeds.live.ccxt_client import make_exchange, reading_faults
from services.oracle.feeds.live.configuration import ExchangeSources, Timing
from services.oracle.feeds.live.dialects import DIALECTS
from services.oracle.feeds.live.quote import Quote, ReadingFault, number_of

_BAR_DAYS: Final = 299


class Exchange:
    """A connection to one exchange. `list_markets` comes first; `close` last."""

    def __init__(self, sources: ExchangeSources, timing: Timing) -> None:
        self.sources = sources
        self._dialect = DIALECTS[sources.name]
        urls = self._dialect.urls(sources.rest_url, sources.websocket_url)
        self._ccxt = make_exchange(self._dialect.ccxt_name, self._dialect.options, urls, timing.timeout_seconds)

    async def list_markets(self) -> None:
        """Asks which markets there are, anew each time. ReadingFault NOT_LISTED if none of ours is among them."""
        with reading_faults(self._ccxt):
            await self._ccxt.load_markets(True, dict(self._dialect.listing(self.sources.symbols)))
        if not any(self.lists(symbol) for symbol in self.sources.symbols):
            raise ReadingFault(Rejection.NOT_LISTED, "no pair that is wanted")

    async def fetch(self, symbol: str) -> Quote:
        """The best bid and ask, by REST. A pair that the exchange did not know is looked for anew: ReadingFault
        NOT_LISTED if it still does not."""
        if not self.lists(symbol):
            await self.list_markets()
        with reading_faults(self._ccxt):
            return await self._dialect.fetch(self._ccxt, self._ccxt.market(symbol)["id"])

    async def watch(self, symbol: str) -> Quote:
        """The next best bid and ask, by websocket; waits for it without end."""
        with reading_faults(self._ccxt):
            return await self._dialect.watch(self._ccxt, symbol)

    def lists(self, symbol: str) -> bool:
        """True if the exchange knows the pair."""
        return symbol in (self._ccxt.markets or {})

    async def daily_bars(self, symbol: str, now: dt.datetime) -> Sequence[DailyBar]:
        """The complete days of the last ten months, oldest first, in USD e8 rounded down."""
        since = dt.datetime.combine(now.date(), dt.time(), dt.UTC) - dt.timedelta(days=_BAR_DAYS)
        with reading_faults(self._ccxt):
            rows = await self._ccxt.fetch_ohlcv(symbol, "1d", int(since.timestamp()) * 1000, _BAR_DAYS)
            bars = [_bar(row) for row in rows]
        return [bar for bar in bars if since.date() <= bar.day < now.date()]

    async def disconnect(self) -> None:
        """Closes the websockets; REST goes on."""
        await self._ccxt.close_ws_clients()

    async def close(self) -> None:
        """Closes everything."""
        await self._ccxt.close()


def _bar(row: Sequence[object]) -> DailyBar:
    day = dt.datetime.fromtimestamp(int(str(row[0])) // 1000, dt.UTC).date()
    opened, high, low, closed = (int(number_of("candle", value) * USD_E8) for value in row[1:5])
    if not 0 < low <= min(opened, closed) <= max(opened, closed) <= high:
        raise ReadingFault(Rejection.MALFORMED, f"impossible bar of {day}")
    return DailyBar(day, opened, high, low, closed)

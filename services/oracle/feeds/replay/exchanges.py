"""Recorded prices as five simulated exchanges would have shown them: each a little late, a little off.

Lag and noise are drawn from a hash of seed, source, feed and time: independent of each other, and the same each
time they are asked for. They are simulations and say so in every observation.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, Observation
from services.oracle.feeds.replay.path import price_at
from services.oracle.feeds.replay.recorded import load_series

_MILLION: Final = 1_000_000


@dataclass(frozen=True)
class SimulatedExchange:
    """How far one exchange may be off, in parts per million, and how late, in whole seconds."""

    name: str
    noise_ppm: int
    longest_lag_seconds: int


EXCHANGES: Final = (
    SimulatedExchange("simulated-kraken", 150, 3),
    SimulatedExchange("simulated-coinbase", 120, 2),
    SimulatedExchange("simulated-bitstamp", 250, 5),
    SimulatedExchange("simulated-bitfinex", 300, 4),
    SimulatedExchange("simulated-okx", 200, 6),
)


class ReplayedPrices:
    """A `PriceSource` over the CSV files of a folder."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self._series = load_series(folder)
        self._bars = {feed: {bar.day: bar for bar in series.bars} for feed, series in self._series.items()}
        self._seed = seed

    async def observe(self, feed: Feed, at: dt.datetime) -> Sequence[Observation]:
        """One observation of each simulated exchange; none for a day that was not recorded."""
        observations = (self._observe(exchange, feed, at) for exchange in EXCHANGES)
        return [one for one in observations if one is not None]

    def is_synthetic(self, feed: Feed) -> bool:
        """True if the feed's file is a synthetic one."""
        return self._series[feed].synthetic

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """Every recorded day, also those still to come in the replay."""
        return self._series[feed].bars

    def _observe(self, exchange: SimulatedExchange, feed: Feed, at: dt.datetime) -> Observation | None:
        lag, noise = self._draw(exchange, feed, at)
        time = at - dt.timedelta(seconds=lag)
        bar = self._bars[feed].get(time.date())
        if bar is None:
            return None
        price = price_at(bar, time) * (_MILLION + noise) // _MILLION
        return Observation(exchange.name, price, time, simulated=True)

    def _draw(self, exchange: SimulatedExchange, feed: Feed, at: dt.datetime) -> tuple[int, int]:
        text = f"{self._seed}/{exchange.name}/{feed.name}/{at.timestamp()}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        lag = int.from_bytes(digest[:8], "big") % (exchange.longest_lag_seconds + 1)
        noise = int.from_bytes(digest[8:], "big") % (2 * exchange.noise_ppm + 1) - exchange.noise_ppm
        return lag, noise

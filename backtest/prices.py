"""The prices that a back-test replays: a BTC/USD file, and STX/USD for its days."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kernel.settings import SettingsError
from kernel.units import USD_E8, USTX_PER_STX
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, Price, PriceStatus
from services.oracle.domain.twap import LONGEST_WINDOW_SECONDS, WINDOW_SECONDS, Average, expiry_average
from services.oracle.feeds.replay.path import price_at
from services.oracle.feeds.replay.recorded import HIGHEST_USD, load_file, load_series

DATA: Final = Path(__file__).resolve().parents[1] / "data"
# Volatility needs eleven days, and something should happen after them.
FEWEST_DAYS: Final = 30
# What a bitcoin cost at first: for less, the capital of a tier is more base units than there can be.
_LOWEST_USD_E8: Final = USD_E8 // 1_000
# Years that times and burn heights can be computed in, with room for the longest policy.
_YEARS: Final = range(1970, 2200)
# The relation of STX to BTC of the synthetic series in data/.
_STX_FIRST_OPEN_USD: Final = 0.25
_STX_BETA: Final = 0.9
_STX_DAILY_NOISE: Final = 0.03
_STX_DRIFT: Final = 0.0005
_MINUTE: Final = 60


class PriceHistory:
    """BTC/USD and STX/USD by the minute, along the replay's path through each day's bar.

    `synthetic_stx`: in words, where the STX/USD series is from. Days without a bar have no price.
    """

    def __init__(self, btc: Sequence[DailyBar], stx: Sequence[DailyBar], stx_source: str) -> None:
        self.bars = btc
        self.stx_source = stx_source
        self._by_day: Mapping[Feed, Mapping[dt.date, DailyBar]] = {
            Feed.BTC_USD: {bar.day: bar for bar in btc},
            Feed.STX_USD: {bar.day: bar for bar in stx},
        }

    @classmethod
    def load(cls, file: Path | None, seed: int) -> PriceHistory:
        """The recorded prices, or those of `file`, beside which a synthetic STX/USD is made from `seed`."""
        if file is None:
            series = load_series(DATA)
            stx = series[Feed.STX_USD]
            return cls(series[Feed.BTC_USD].bars, stx.bars, "the synthetic series in data/")
        bars = load_file(file, "PRICES").bars
        if len(bars) < FEWEST_DAYS:
            raise SettingsError(f"PRICES: {file.name} has {len(bars)} days, at least {FEWEST_DAYS} are needed")
        if not (bars[0].day.year in _YEARS and bars[-1].day.year in _YEARS):
            raise SettingsError(f"PRICES: {file.name} has days before {_YEARS[0]} or after {_YEARS[-1]}")
        cheapest = min(bars, key=lambda bar: bar.low_usd_e8)
        if cheapest.low_usd_e8 < _LOWEST_USD_E8:
            raise SettingsError(f"PRICES: {file.name} has a price below {_LOWEST_USD_E8 / USD_E8} USD: {cheapest.day}")
        return cls(bars, _synthetic_stx(bars, seed), f"a synthetic series made from seed {seed}")

    def at(self, feed: Feed, time: dt.datetime) -> int | None:
        """USD e8 at a time, None on a day that was not recorded."""
        bar = self._by_day[feed].get(time.date())
        return None if bar is None else price_at(bar, time)

    def expiry(self, feed: Feed, end: dt.datetime) -> Average | None:
        """The average that settles an expiry at `end`, by the oracle's own rule; None where a person must decide."""
        last = int(end.timestamp())
        for window in (WINDOW_SECONDS, LONGEST_WINDOW_SECONDS):
            numbers = range(last - window + _MINUTE, last + 1, _MINUTE)
            average = expiry_average([self._round(feed, number) for number in numbers], last, _MINUTE)
            if average is not None:
                return average
        return None

    def _round(self, feed: Feed, number: int) -> Price:
        time = dt.datetime.fromtimestamp(number, dt.UTC)
        price = self.at(feed, time)
        status = PriceStatus.UNAVAILABLE if price is None else PriceStatus.OK
        return Price(feed, number, status, "", price or 0, 0, time, time, 0, synthetic=feed is Feed.STX_USD)


def _synthetic_stx(bars: Sequence[DailyBar], seed: int) -> Sequence[DailyBar]:
    """A series beside any BTC series, in the same relation to it as that of data/, with draws of its own."""
    generator = np.random.default_rng([seed, 1])
    opened, found = _STX_FIRST_OPEN_USD, []
    for bar in bars:
        move = _STX_BETA * math.log(bar.close_usd_e8 / bar.open_usd_e8)
        closed = opened * math.exp(move + generator.normal(_STX_DRIFT, _STX_DAILY_NOISE))
        above = bar.high_usd_e8 / max(bar.open_usd_e8, bar.close_usd_e8)
        below = bar.low_usd_e8 / min(bar.open_usd_e8, bar.close_usd_e8)
        prices = (opened, max(opened, closed) * above, min(opened, closed) * below, closed)
        if max(prices) > HIGHEST_USD:
            raise SettingsError(f"PRICES: beside these prices STX/USD would pass {HIGHEST_USD} USD on {bar.day}")
        first, high, low, last = (max(round(price * USTX_PER_STX), 1) * (USD_E8 // USTX_PER_STX) for price in prices)
        found.append(DailyBar(bar.day, first, max(high, first, last), min(low, first, last), last))
        opened = closed
    return found

"""The market that every stand-in shows: recorded days, at a market time that is set from outside.

BTC/USD is real, STX/USD and USDT/USD are synthetic. A pair in USDT is the price in USD over that of USDT. Each exchange
is a little off, by a hash of its name, the pair and the minute, and has a spread of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final

from kernel.units import USD_E8
from services.oracle.domain.history import DailyBar
from services.oracle.feeds.replay.path import price_at
from services.oracle.feeds.replay.recorded import load_file

_SERIES: Final = {
    "BTC": "btc_usd_daily_2020_2021.csv",
    "STX": "stx_usd_daily_synthetic_2020_2021.csv",
    "USDT": "usdt_usd_daily_synthetic_2020_2021.csv",
}
_DECIMALS: Final = {"BTC": 2, "STX": 5, "USDT": 5}
_NOISE_PPM: Final = 150
_HALF_SPREAD_PPM: Final = 60


@dataclass(frozen=True)
class Book:
    """Best bid and ask as text, and the time of the exchange. Faults replace what they falsify."""

    bid: object
    ask: object
    time: dt.datetime

    @property
    def sides(self) -> tuple[list[list[object]], list[list[object]]]:
        """Bids and asks of one level each; an empty side where there is no price."""
        return tuple([] if price is None else [[price, "1.50000000"]] for price in (self.bid, self.ask))  # type: ignore[return-value]


class Market:
    """Prices by pair and market time."""

    def __init__(self, folder: Path, start: dt.datetime) -> None:
        self.now = start
        # How far an exchange is off, and prices that are other than recorded, by currency.
        self.offsets_bps: dict[str, int] = {}
        self.prices_usd: dict[str, Fraction] = {}
        self._bars = {
            name: {bar.day: bar for bar in load_file(folder / file, "PRICE_DATA").bars}
            for name, file in _SERIES.items()
        }

    def price_usd(self, currency: str) -> Fraction | None:
        """USD per unit now; None on a day that was not recorded."""
        if currency in self.prices_usd:
            return self.prices_usd[currency]
        bar = self._bars[currency].get(self.now.date())
        return None if bar is None else Fraction(price_at(bar, self.now), USD_E8)

    def book(self, exchange: str, pair: str) -> Book | None:
        """What an exchange shows now; None on a day that was not recorded."""
        base, quote = pair.split("/")
        price, unit = self.price_usd(base), Fraction(1) if quote == "USD" else self.price_usd(quote)
        if price is None or unit is None:
            return None
        off = _noise_ppm(exchange, pair, self.now) + 100 * self.offsets_bps.get(exchange, 0)
        middle = price / unit * (1_000_000 + off) / 1_000_000
        step = Decimal(1).scaleb(-_DECIMALS[base])
        bid = _rounded(middle * (1_000_000 - _HALF_SPREAD_PPM) / 1_000_000, step, ROUND_FLOOR)
        ask = _rounded(middle * (1_000_000 + _HALF_SPREAD_PPM) / 1_000_000, step, ROUND_CEILING)
        return Book(str(bid), str(ask), self.now)

    def bars(self, pair: str, days: int) -> Sequence[DailyBar]:
        """The last recorded days, oldest first, today's as far as it is known."""
        series = self._bars[pair.split("/")[0]]
        today = self.now.date()
        known = [bar for bar in series.values() if today - dt.timedelta(days=days) <= bar.day < today]
        if today in series:
            opened, now = series[today].open_usd_e8, price_at(series[today], self.now)
            known.append(DailyBar(today, opened, max(opened, now), min(opened, now), now))
        return known


def _noise_ppm(exchange: str, pair: str, now: dt.datetime) -> int:
    text = f"{exchange}/{pair}/{int(now.timestamp()) // 60}"
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return number % (2 * _NOISE_PPM + 1) - _NOISE_PPM


def _rounded(value: Fraction, step: Decimal, rounding: str) -> Decimal:
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(step, rounding)

"""Candles of OK rounds: exact integers, folded from rounds in ascending order, a few at a time or all at once.

A round numbered n is the price at the end of its interval and stands for the seconds (n - interval, n], so a candle
that starts at s has the rounds in (s, s + span]: the candle of a day closes with the price at its midnight. Rounds that
are not OK, or were missed, are in no candle; `covered_seconds` tells how much of the span the others stand for, and a
span without any has no candle.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.oracle.domain.prices import Feed, Price, PriceStatus


class CandleSpan(enum.IntEnum):
    """How long a candle is; the values are seconds."""

    ONE_MINUTE = 60
    FIVE_MINUTES = 300
    ONE_HOUR = 3_600
    ONE_DAY = 86_400


@dataclass(frozen=True)
class Candle:
    """Prices in USD e8; `start` and rounds in Unix seconds of market time. `price_seconds` is the sum of each round's
    price times the seconds that it stands for, of which there are `covered_seconds`."""

    feed: Feed
    span: CandleSpan
    start: int
    open_usd_e8: int
    high_usd_e8: int
    low_usd_e8: int
    close_usd_e8: int
    count: int
    first_round: int
    last_round: int
    price_seconds: int
    covered_seconds: int

    def followed_by(self, later: Candle) -> Candle:
        """One candle of both; `later` has later rounds of the same span. ValueError otherwise."""
        if (self.feed, self.span, self.start) != (later.feed, later.span, later.start):
            raise ValueError("candles of different spans")
        if later.first_round <= self.last_round:
            raise ValueError(f"round {later.first_round} is not later than {self.last_round}")
        return Candle(
            self.feed,
            self.span,
            self.start,
            self.open_usd_e8,
            max(self.high_usd_e8, later.high_usd_e8),
            min(self.low_usd_e8, later.low_usd_e8),
            later.close_usd_e8,
            self.count + later.count,
            self.first_round,
            later.last_round,
            self.price_seconds + later.price_seconds,
            self.covered_seconds + later.covered_seconds,
        )


def candle_start(number: int, span: CandleSpan) -> int:
    """Where the candle starts that a round belongs to."""
    return (number - 1) // span * span


def candles_of(prices: Iterable[Price], interval_seconds: int) -> Sequence[Candle]:
    """The candles of every span of rounds that are `interval_seconds` apart; those of one feed are ascending."""
    found: dict[tuple[Feed, CandleSpan, int], Candle] = {}
    for price in prices:
        if price.status is not PriceStatus.OK:
            continue
        for span in CandleSpan:
            one = _candle_of(price, span, interval_seconds)
            key = (one.feed, one.span, one.start)
            earlier = found.get(key)
            found[key] = one if earlier is None else earlier.followed_by(one)
    return list(found.values())


def _candle_of(price: Price, span: CandleSpan, interval_seconds: int) -> Candle:
    usd, number = price.price_usd_e8, price.round
    start = candle_start(number, span)
    weight = usd * interval_seconds
    return Candle(price.feed, span, start, usd, usd, usd, usd, 1, number, number, weight, interval_seconds)

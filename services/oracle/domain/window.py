"""The time-weighted average price of any window, from few rows however long it is.

The window is (start, end]. Its whole days, then hours, five minutes and minutes are taken from candles, which hold
exact sums; what is left at the two ends is taken from rounds. The result equals that of all rounds alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.units import BPS, mul_div_up
from services.oracle.domain.candles import CandleSpan
from services.oracle.domain.prices import Price, PriceStatus
from services.oracle.domain.twap import overlap_seconds

LONGEST_SECONDS: Final = 366 * 86_400
DEFAULT_COVERAGE_BPS: Final = 5_000


@dataclass(frozen=True)
class Stretch:
    """The seconds (start, end]; of candles of one span, or of rounds where `span` is None."""

    start: int
    end: int
    span: CandleSpan | None


@dataclass(frozen=True)
class Weight:
    """A sum of prices times the seconds that they stand for, and these seconds."""

    price_seconds: int = 0
    covered_seconds: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.price_seconds + other.price_seconds, self.covered_seconds + other.covered_seconds)


@dataclass(frozen=True)
class WindowAverage:
    """USD e8, rounded up as every average of ours, and how much of the window OK rounds stand for."""

    price_usd_e8: int
    window_seconds: int
    covered_seconds: int

    @property
    def coverage_bps(self) -> int:
        """Share of the window that OK rounds cover, rounded down."""
        return self.covered_seconds * BPS // self.window_seconds


def check_window(start: int, end: int) -> None:
    """InvalidArgument unless the window is a second to a year long."""
    if end <= start:
        raise InvalidArgument.of("end_time", "must be later than start_time")
    if end - start > LONGEST_SECONDS:
        raise InvalidArgument.of("start_time", f"a window is at most {LONGEST_SECONDS} seconds long")


def stretches(start: int, end: int, interval_seconds: int) -> Sequence[Stretch]:
    """The parts of the window (start, end], ascending: each as long a candle as fits, rounds at the rest.

    Candles whose span is no multiple of the interval are left out: a round could stand for seconds of two.
    """
    spans = [span for span in sorted(CandleSpan, reverse=True) if span % interval_seconds == 0]
    return _split(start, end, spans)


def _split(start: int, end: int, spans: Sequence[CandleSpan]) -> list[Stretch]:
    if start >= end:
        return []
    for place, span in enumerate(spans):
        first, last = -(-start // span) * span, end // span * span
        if first < last:
            rest = spans[place + 1 :]
            return [*_split(start, first, rest), Stretch(first, last, span), *_split(last, end, rest)]
    return [Stretch(start, end, None)]


def weight_of_rounds(rounds: Sequence[Price], start: int, end: int, interval_seconds: int) -> Weight:
    """What OK rounds stand for in (start, end]."""
    seconds = [
        (overlap_seconds(one.round, start, end, interval_seconds), one.price_usd_e8)
        for one in rounds
        if one.status is PriceStatus.OK
    ]
    return Weight(sum(count * price for count, price in seconds), sum(count for count, _ in seconds))


def window_average(weight: Weight, start: int, end: int, minimum_coverage_bps: int) -> WindowAverage:
    """The average of a window; FailedPrecondition when OK rounds cover less of it than the minimum, or nothing."""
    window = end - start
    covered = weight.covered_seconds
    if covered == 0 or covered * BPS < minimum_coverage_bps * window:
        raise FailedPrecondition(
            "COVERAGE_TOO_LOW",
            f"OK rounds cover {covered} of the window's {window} seconds, {minimum_coverage_bps} bps are needed",
            covered_seconds=covered,
            window_seconds=window,
        )
    return WindowAverage(mul_div_up(weight.price_seconds, 1, covered), window, covered)

"""The average price of an expiration height: time-weighted over the half hour that ends at its burn block.

Each OK round stands for the observation interval that ends at it. If OK rounds cover less than half of the half
hour, the window grows by half hours up to two hours until they cover half of it; else a person decides. The
average is rounded up, which rounds the payout of a put down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.units import mul_div_up
from services.oracle.domain.prices import Price, PriceStatus

WINDOW_SECONDS: Final = 1800
LONGEST_WINDOW_SECONDS: Final = 7200


@dataclass(frozen=True)
class Average:
    """A time-weighted price, the rounds it was made from, how long its window was and how much they covered."""

    price_usd_e8: int
    rounds: Sequence[Price]
    window_seconds: int
    covered_seconds: int


def expiry_average(rounds: Sequence[Price], end: int, interval_seconds: int) -> Average | None:
    """The average of one feed's rounds before Unix second `end`; None when a person must decide.

    `rounds` holds at least those of the longest window; the status of each is respected.
    """
    for window in range(WINDOW_SECONDS, LONGEST_WINDOW_SECONDS + 1, WINDOW_SECONDS):
        average = _average(rounds, end - window, end, interval_seconds)
        if average is not None and 2 * average.covered_seconds >= window:
            return average
    return None


def rounds_in(end: int, window_seconds: int, interval_seconds: int) -> range:
    """The numbers of the rounds that stand for some of the seconds of a window, ascending."""
    first = (end - window_seconds) // interval_seconds * interval_seconds + interval_seconds
    return range(first, end + interval_seconds, interval_seconds)


def _average(rounds: Sequence[Price], start: int, end: int, interval_seconds: int) -> Average | None:
    weighted = [(overlap_seconds(one.round, start, end, interval_seconds), one) for one in rounds]
    used = [(seconds, one) for seconds, one in weighted if seconds > 0 and one.status is PriceStatus.OK]
    covered = sum(seconds for seconds, _ in used)
    if covered == 0:
        return None
    total = sum(seconds * one.price_usd_e8 for seconds, one in used)
    return Average(mul_div_up(total, 1, covered), [one for _, one in used], end - start, covered)


def overlap_seconds(number: int, start: int, end: int, interval_seconds: int) -> int:
    """Seconds of (number - interval, number] that lie in (start, end]: what a round stands for there."""
    return max(0, min(number, end) - max(number - interval_seconds, start))

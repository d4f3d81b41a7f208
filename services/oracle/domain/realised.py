"""Realised volatility of a window of bars of one length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.oracle.domain import volatility
from services.oracle.domain.candles import CandleSpan

FEWEST_BARS: Final = 10
MOST_BARS: Final = 1_000


@dataclass(frozen=True)
class RealisedVolatility:
    """Per year of 365 days, 1.0 is 100%; `end` of the last bar in Unix seconds."""

    close_to_close: float
    ewma: float
    parkinson: float
    bars: int
    end: int


def realised_volatility(bars: Sequence[tuple[int, int, int, int]], span: CandleSpan) -> RealisedVolatility:
    """That of bars (close, high, low in any one unit, end in Unix seconds) of one span, ascending; at least three.

    A bar that is missing makes the return over it one of two spans; so no more than one in ten may be.
    """
    closes, highs, lows = ([float(bar[place]) for bar in bars] for place in range(3))
    # The estimators take their observations as days.
    scale = math.sqrt(CandleSpan.ONE_DAY / span)
    return RealisedVolatility(
        volatility.close_to_close(closes) * scale,
        volatility.ewma(closes) * scale,
        volatility.parkinson(highs, lows) * scale,
        len(bars),
        bars[-1][3],
    )

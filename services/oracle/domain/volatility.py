"""Realised volatility of a price series, per year of 365 days, from daily observations.

Returns are logarithmic. Each function takes plain floats, oldest first, and raises `VolatilityError` on
what cannot be an observation (not finite, not positive, high below low) or on too few of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAYS_PER_YEAR: Final = 365
EWMA_DECAY: Final = 0.94


class VolatilityError(ValueError):
    """Observations from which no volatility follows: too few, not finite, not positive, inconsistent."""


def log_returns(closes: Sequence[float]) -> NDArray[np.float64]:
    """The n-1 logarithmic returns of n closes; at least two closes."""
    prices = _prices("closes", closes, 2)
    return np.diff(np.log(prices))


def close_to_close(closes: Sequence[float], last: int | None = None) -> float:
    """Sample standard deviation of the returns (divisor n-1) x sqrt(365).

    Of the `last` returns only, if given (at least 2, and no more than there are).
    """
    returns = _window(log_returns(closes), last, 2)
    return float(np.std(returns, ddof=1)) * math.sqrt(DAYS_PER_YEAR)


def close_to_close_zero_mean(closes: Sequence[float], last: int | None = None) -> float:
    """Root mean square of the returns x sqrt(365): the mean taken as zero, as it is over short windows."""
    returns = _window(log_returns(closes), last, 1)
    return math.sqrt(float(np.mean(returns * returns)) * DAYS_PER_YEAR)


def ewma(closes: Sequence[float], decay: float = EWMA_DECAY) -> float:
    """Exponentially weighted: v = decay v + (1 - decay) r^2 from the first r^2, then sqrt(365 v)."""
    if not 0.0 < decay < 1.0:
        raise VolatilityError(f"decay must lie between 0 and 1: {decay!r}")
    squares = log_returns(closes) ** 2
    variance = float(squares[0])
    for square in squares[1:].tolist():
        variance = decay * variance + (1.0 - decay) * square
    return math.sqrt(variance * DAYS_PER_YEAR)


def parkinson(highs: Sequence[float], lows: Sequence[float], last: int | None = None) -> float:
    """From the ranges of the bars: sqrt(mean(ln(high/low)^2) / (4 ln 2) x 365) (Parkinson, 1980).

    Of the `last` bars only, if given. One bar is enough; both series have one length.
    """
    high, low = _prices("highs", highs, 1), _prices("lows", lows, 1)
    if high.shape != low.shape:
        raise VolatilityError(f"{high.size} highs and {low.size} lows")
    if bool((high < low).any()):
        raise VolatilityError("a high lies below its low")
    ranges = _window(np.log(high / low), last, 1)
    return math.sqrt(float(np.mean(ranges * ranges)) / (4.0 * math.log(2.0)) * DAYS_PER_YEAR)


def _prices(name: str, values: Sequence[float], at_least: int) -> NDArray[np.float64]:
    try:
        prices = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolatilityError(f"{name} are not numbers") from error
    if prices.ndim != 1 or prices.size < at_least:
        raise VolatilityError(f"{name}: at least {at_least} needed, {prices.size} given")
    if not bool((np.isfinite(prices) & (prices > 0.0)).all()):
        raise VolatilityError(f"{name} must be finite and positive")
    return prices


def _window(values: NDArray[np.float64], last: int | None, at_least: int) -> NDArray[np.float64]:
    count = values.size if last is None else last
    if count < at_least or count > values.size:
        raise VolatilityError(f"a window of {count} out of {values.size}: at least {at_least} needed")
    return values[values.size - count :]

"""Realised volatility: known figures, invariances, refusals."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.oracle.domain import volatility
from services.oracle.domain.volatility import VolatilityError

CLOSES = st.lists(st.floats(1_000, 200_000), min_size=3, max_size=60)
ESTIMATORS: list[Callable[[Sequence[float]], float]] = [
    volatility.close_to_close,
    volatility.close_to_close_zero_mean,
    volatility.ewma,
]
YEAR = math.sqrt(365)


def returns(closes: Sequence[float]) -> list[float]:
    return [math.log(after / before) for before, after in itertools.pairwise(closes)]


@given(closes=CLOSES)
def test_estimators_follow_their_formulas(closes: list[float]) -> None:
    """Each estimator equals its formula written out with the standard library."""
    moves = returns(closes)
    sample = statistics.stdev(moves) * YEAR
    zero_mean = math.sqrt(math.fsum(move * move for move in moves) / len(moves)) * YEAR
    weights = [0.94 ** (len(moves) - 1 - index) * (0.06 if index else 1.0) for index in range(len(moves))]
    weighted = math.sqrt(math.fsum(w * m * m for w, m in zip(weights, moves, strict=True))) * YEAR
    assert volatility.close_to_close(closes) == pytest.approx(sample, rel=1e-11, abs=1e-12)
    assert volatility.close_to_close_zero_mean(closes) == pytest.approx(zero_mean, rel=1e-11, abs=1e-12)
    assert volatility.ewma(closes) == pytest.approx(weighted, rel=1e-11, abs=1e-12)


@given(closes=CLOSES, scale=st.floats(0.01, 100))
def test_the_unit_of_price_does_not_matter(closes: list[float], scale: float) -> None:
    """Prices in another currency give the same volatility."""
    for estimate in ESTIMATORS:
        assert estimate([scale * close for close in closes]) == pytest.approx(estimate(closes), rel=1e-9, abs=1e-12)


@given(closes=CLOSES, data=st.data())
def test_a_window_sees_only_its_returns(closes: list[float], data: st.DataObject) -> None:
    """The last n returns are those of the last n+1 closes."""
    last = data.draw(st.integers(2, len(closes) - 1))
    tail = closes[-(last + 1) :]
    assert volatility.close_to_close(closes, last) == pytest.approx(volatility.close_to_close(tail), abs=1e-12)
    assert volatility.close_to_close_zero_mean(closes, last) == pytest.approx(
        volatility.close_to_close_zero_mean(tail), abs=1e-12
    )


def test_flat_prices_do_not_move() -> None:
    """Constant closes and empty ranges have volatility zero."""
    assert all(estimate([60_000.0] * 10) == 0.0 for estimate in ESTIMATORS)
    assert volatility.parkinson([5.0, 6.0], [5.0, 6.0]) == 0.0


def test_parkinson_of_known_ranges() -> None:
    """Bars of one range give range / (2 sqrt(ln 2)) a day; a window drops older bars."""
    expected = math.log(1.05) / (2 * math.sqrt(math.log(2))) * YEAR
    assert volatility.parkinson([105.0, 210.0], [100.0, 200.0]) == pytest.approx(expected, rel=1e-12)
    assert volatility.parkinson([500.0, 105.0], [100.0, 100.0], 1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, 0.0])
def test_impossible_prices_are_refused(bad: float) -> None:
    """NaN, infinity, zero and negative prices are a typed error in every estimator."""
    for estimate in ESTIMATORS:
        with pytest.raises(VolatilityError):
            estimate([1.0, bad, 1.0, 2.0])
    with pytest.raises(VolatilityError):
        volatility.parkinson([bad], [bad])


def test_too_little_or_inconsistent_input_is_refused() -> None:
    """Short series, windows too long or too short, unequal or crossed ranges, bad decay: typed errors."""
    calls: list[Callable[[], float]] = [
        lambda: volatility.close_to_close([1.0, 2.0]),
        lambda: volatility.close_to_close_zero_mean([1.0]),
        lambda: volatility.ewma([]),
        lambda: volatility.close_to_close([1.0, 2.0, 3.0], 3),
        lambda: volatility.close_to_close([1.0, 2.0, 3.0], 1),
        lambda: volatility.close_to_close_zero_mean([1.0, 2.0, 3.0], -1),
        lambda: volatility.ewma([1.0, 2.0], decay=1.0),
        lambda: volatility.parkinson([], []),
        lambda: volatility.parkinson([2.0], [1.0, 1.0]),
        lambda: volatility.parkinson([1.0], [2.0]),
    ]
    for call in calls:
        with pytest.raises(VolatilityError):
            call()

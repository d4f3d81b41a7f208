"""The early-exercise boundary of the American put, as a share of the strike, by time left.

The boundary b of a put without dividends solves Kim's equation ("The analytic valuation of American
options", 1990). It is found as in Andersen, Lake and Offengenden, "High-performance American option pricing"
(2016, fixed point B): collocation at Chebyshev nodes in the square root of time, ln(b)**2 as the unknown,
Gauss-Legendre quadrature in the square root of the time difference. The equations are solved by Newton's method
from the boundary's known form near expiry (Barles, Burdeau, Romano and Samsoen, "Critical stock price near
expiration", 1995), bounded by the perpetual put's. It depends on volatility and rate alone (the strike only
scales it), so that one boundary serves every policy that shares them; between volatilities it is interpolated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from kernel.pricing.normal import Array, normal_cdf_and_density

_TABLE: Final = 513
_MAX_STEPS: Final = 32
# The step after the last one that is looked at: Newton's method squares the error each time.
_TOLERANCE: Final = 1e-6
_SMALLEST: Final = 1e-12
# How the two known ends of the boundary are joined for a first guess.
_JOINT: Final = 3.0
# How many volatilities are solved for, by the width of their range.
_FEWEST_VOLATILITIES: Final = 3
_VOLATILITIES_PER_E: Final = 6.0
_MOST_VOLATILITIES: Final = 20
# Where rate x years exceeds this, the boundary has bends that a coarse grid does not follow.
_COARSE_GROWTH: Final = 0.1


@dataclass(frozen=True, slots=True)
class ExerciseBoundary:
    """Tabulated boundaries, one row for each policy, or one row for all: `-ln(b/K)`, rising from 0.

    `depths` stand at equal steps of the square root of the time left, from 0 to `horizon_years`.
    """

    horizon_years: float
    depths: Array

    def depth(self, time_years: Array) -> Array:
        """-ln(boundary/strike) with these times left, one row for each policy; at most those of the horizon."""
        last = self.depths.shape[1] - 1
        place = np.minimum(np.sqrt(time_years / self.horizon_years), 1.0) * last
        below = np.minimum(place.astype(np.int64), last - 1)
        row = np.arange(self.depths.shape[0])[:, None]
        start, end = self.depths[row, below], self.depths[row, below + 1]
        return np.asarray(start + (place - below) * (end - start))

    def time_to_reach(self, depth: Array) -> Array:
        """Years left when each policy's boundary lies `depth` below its strike; the horizon if it never does."""
        last = self.depths.shape[1] - 1
        above = np.clip((self.depths < depth[:, None]).sum(axis=1), 1, last)
        row = np.minimum(np.arange(depth.size), self.depths.shape[0] - 1)
        start, end = self.depths[row, above - 1], self.depths[row, above]
        share = np.clip((depth - start) / np.maximum(end - start, _SMALLEST), 0.0, 1.0)
        return np.asarray(((above - 1 + share) / last) ** 2 * self.horizon_years)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Constants of the method: nothing here depends on the market."""

    roots: Array  # collocation points as shares of sqrt(horizon), (0, 1], ascending
    steps: Array  # quadrature points as shares of sqrt(time left), (0, 1)
    weights: Array
    to_quadrature: Array  # (collocation, quadrature, degree + 1): interpolates from the nodes
    to_table: Array  # (table, degree + 1)


def _interpolation(nodes: Array, points: Array) -> Array:
    # Barycentric form of Lagrange interpolation at Chebyshev points of the second kind.
    weights = np.ones_like(nodes)
    weights[1::2] = -1.0
    weights[[0, -1]] *= 0.5
    difference = points[..., None] - nodes
    at_node = np.abs(difference) < 1e-14
    terms = weights / np.where(at_node, 1.0, difference)
    matrix = terms / terms.sum(axis=-1, keepdims=True)
    return np.where(at_node.any(axis=-1, keepdims=True), at_node.astype(np.float64), matrix)


def _build_grid(degree: int, quadrature: int) -> _Grid:
    nodes = -np.cos(np.pi * np.arange(degree + 1) / degree)
    legendre, weights = np.polynomial.legendre.leggauss(quadrature)
    steps = 0.5 * (1.0 + legendre)
    roots = 0.5 * (1.0 + nodes[1:])
    earlier = np.outer(roots, np.sqrt(1.0 - steps * steps))
    return _Grid(
        roots=roots,
        steps=steps,
        weights=0.5 * weights,
        to_quadrature=_interpolation(nodes, 2.0 * earlier - 1.0),
        to_table=_interpolation(nodes, np.linspace(-1.0, 1.0, _TABLE)),
    )


_COARSE: Final = _build_grid(10, 32)
_FINE: Final = _build_grid(24, 96)


def exercise_boundary(volatility: Array, rate: float, horizon_years: float) -> ExerciseBoundary:
    """The boundaries for these volatilities, one for each policy, and times left up to `horizon_years`; all positive.

    Between the lowest volatility and the highest it is interpolated in the logarithm, where it is smooth.
    """
    low, high = float(volatility.min()), float(volatility.max())
    spread = math.log(high / low)
    if spread < _SMALLEST:
        return ExerciseBoundary(horizon_years, _table(high, rate, horizon_years)[None, :])
    count = min(_FEWEST_VOLATILITIES + math.ceil(_VOLATILITIES_PER_E * spread), _MOST_VOLATILITIES)
    nodes = -np.cos(np.pi * np.arange(count + 1) / count)
    solved = np.exp(math.log(low) + 0.5 * spread * (1.0 + nodes))
    tables = np.stack([_table(one, rate, horizon_years) for one in solved.tolist()])
    weights = _interpolation(nodes, np.log(volatility / low) * (2.0 / spread) - 1.0)
    return ExerciseBoundary(horizon_years, np.maximum.accumulate(weights @ tables, axis=1))


@functools.lru_cache(maxsize=64)
def _table(volatility: float, rate: float, horizon_years: float) -> Array:
    # Results are remembered: many policies share a market.
    grid = _COARSE if rate * horizon_years <= _COARSE_GROWTH else _FINE
    depths = _solve(grid, volatility, rate, horizon_years)
    squares = np.concatenate(([0.0], depths * depths))
    table = np.maximum.accumulate(np.sqrt(np.maximum(grid.to_table @ squares, 0.0)))
    table.flags.writeable = False
    return table


def _solve(grid: _Grid, volatility: float, rate: float, horizon_years: float) -> Array:
    times = horizon_years * grid.roots**2
    deepest = np.log1p(0.5 * volatility**2 / rate)
    equations = _equations(grid, volatility, rate, times)
    depths = _first_guess(volatility, rate, times, deepest)
    for _ in range(_MAX_STEPS):
        images, slopes = equations(depths)
        step = np.linalg.solve(np.eye(depths.size) - slopes, images - depths)
        following = np.clip(depths + step, _SMALLEST, deepest)
        change = float(np.max(np.abs(np.exp(-following) - np.exp(-depths))))
        depths = following
        if change < _TOLERANCE:
            break
    return depths


def _first_guess(volatility: float, rate: float, times: Array, deepest: float) -> Array:
    near_expiry = volatility * np.sqrt(times * np.log1p(volatility**2 / (8.0 * np.pi * rate**2 * times)))
    return np.asarray(near_expiry / (1.0 + (near_expiry / deepest) ** _JOINT) ** (1.0 / _JOINT))


def _equations(grid: _Grid, volatility: float, rate: float, times: Array) -> Callable[[Array], tuple[Array, Array]]:
    # What fixed point B makes of depths at the nodes, and the derivatives of that by each depth.
    drift = rate - 0.5 * volatility**2
    deviation = volatility * np.sqrt(times)
    gap = times[:, None] * grid.steps**2
    gap_drift, gap_deviation = drift * gap, volatility * np.sqrt(gap)
    kernel = 2.0 * rate * times[:, None] * grid.steps * grid.weights * np.exp(rate * (times[:, None] - gap))
    interpolation = np.ascontiguousarray(grid.to_quadrature[:, :, 1:])
    diagonal = np.diag_indices(times.size)

    def evaluate(depths: Array) -> tuple[Array, Array]:
        earlier = np.sqrt(np.maximum(interpolation @ (depths * depths), _SMALLEST**2))
        inner, inner_density = normal_cdf_and_density((earlier - depths[:, None] + gap_drift) / gap_deviation)
        outer = (drift * times - depths) / deviation
        ends, end_densities = normal_cdf_and_density(np.stack((outer, outer + deviation)))
        numerator = np.maximum(ends[0] + (kernel * inner).sum(axis=1), _SMALLEST**2)
        denominator = np.maximum(ends[1], _SMALLEST**2)
        density = kernel * inner_density / gap_deviation
        slopes = ((density / earlier)[:, None, :] @ interpolation)[:, 0, :] * -depths / numerator[:, None]
        slopes[diagonal] += (density.sum(axis=1) + end_densities[0] / deviation) / numerator
        slopes[diagonal] -= end_densities[1] / deviation / denominator
        return rate * times - np.log(numerator / denominator), slopes

    return evaluate

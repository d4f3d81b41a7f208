"""The early-exercise boundary of the American put, as a share of the strike, by time left.

The boundary b of a put without dividends solves Kim's equation ("The analytic valuation of American
options", 1990). It is found as in Andersen, Lake and Offengenden, "High-performance American option pricing"
(2016, fixed point B): collocation at Chebyshev nodes in the square root of time, ln(b)**2 as the unknown,
Gauss-Legendre quadrature in the square root of the time difference. It depends on volatility and rate alone
(the strike only scales it), so that one boundary serves every policy that shares them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from kernel.pricing.normal import Array, normal_cdf_array

_DEGREE: Final = 10
_QUADRATURE: Final = 40
_TABLE: Final = 513
_MAX_STEPS: Final = 64
# The error that this leaves in a value is that times rate x years: below 1e-7 of the strike.
_TOLERANCE: Final = 1e-6
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class ExerciseBoundary:
    """Tabulated boundary: at `root_times` (square roots of years left, from 0) `-ln(b/K)`, rising from 0."""

    root_times: Array
    depths: Array

    def depth(self, time_years: Array) -> Array:
        """-ln(boundary/strike) with this time left, at most the horizon it was solved for."""
        return np.interp(np.sqrt(time_years), self.root_times, self.depths)

    def time_to_reach(self, depth: Array) -> Array:
        """Years left when the boundary lies `depth` below the strike; the horizon if it never does."""
        return np.interp(depth, self.depths, self.root_times) ** 2


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


def _build_grid() -> _Grid:
    nodes = -np.cos(np.pi * np.arange(_DEGREE + 1) / _DEGREE)
    legendre, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
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


_GRID: Final = _build_grid()


@functools.lru_cache(maxsize=64)
def exercise_boundary(volatility: float, rate: float, horizon_years: float) -> ExerciseBoundary:
    """The boundary for times left up to `horizon_years`. All three positive; results are remembered."""
    depths = _solve(_GRID, volatility, rate, horizon_years)
    squares = np.concatenate(([0.0], depths * depths))
    table = np.sqrt(np.maximum(_GRID.to_table @ squares, 0.0))
    root_times = np.linspace(0.0, np.sqrt(horizon_years), _TABLE)
    return ExerciseBoundary(root_times, np.maximum.accumulate(table))


def _solve(grid: _Grid, volatility: float, rate: float, horizon_years: float) -> Array:
    variance = volatility * volatility
    drift = rate - 0.5 * variance
    times = horizon_years * grid.roots**2
    deviation = volatility * np.sqrt(times)
    gap = times[:, None] * grid.steps**2
    gap_deviation = volatility * np.sqrt(gap)
    kernel = 2.0 * rate * times[:, None] * grid.steps * grid.weights * np.exp(rate * (times[:, None] - gap))
    perpetual = max(2.0 * rate / (2.0 * rate + variance), _SMALLEST)
    deepest = -np.log(perpetual)
    discount = rate * times
    depths = -np.log(perpetual + (1.0 - perpetual) * np.exp(-2.0 * deviation * perpetual / (1.0 - perpetual)))
    for _ in range(_MAX_STEPS):
        squares = np.concatenate(([0.0], depths * depths))
        earlier = np.sqrt(np.maximum(grid.to_quadrature @ squares, 0.0))
        inner = normal_cdf_array((earlier - depths[:, None] + drift * gap) / gap_deviation)
        outer = (drift * times - depths) / deviation
        at_expiry = normal_cdf_array(np.stack((outer, outer + deviation)))
        ratio = (at_expiry[0] + (kernel * inner).sum(axis=1)) / np.maximum(at_expiry[1], _SMALLEST**2)
        following = np.clip(discount - np.log(np.maximum(ratio, _SMALLEST)), 0.0, deepest)
        change = float(np.max(np.abs(np.exp(-following) - np.exp(-depths))))
        depths = following
        if change < _TOLERANCE:
            break
    return np.asarray(depths)

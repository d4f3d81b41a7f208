"""Value of a policy that may be exercised at any time: closed form plus one integral.

Why this is exact. Below the floor waiting gains nothing (the payout has reached its cap), so touching F ends
the policy. Above it the best boundary is `max(b, F)`, where b is that of the put without a cap: at or below b
even the more valuable uncapped put is exercised at once; above max(b, F) the holder can follow the uncapped
put of a maturity so short that its boundary, which only rises as expiry nears, stays above F throughout, and
that is worth more than exercising (Broadie and Detemple, "American capped call options on dividend-paying
assets", 1995). What exercise above F adds to `touch_value` is then the interest on the strike while the price
lies between F and b without having touched F: an integral over the time left. With a rate of zero it is nil.

The functions take float arrays of one shape and do not check them: see `kernel.pricing.policy`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kernel.pricing.boundary import ExerciseBoundary, exercise_boundary
from kernel.pricing.capped import payoff, touch_value
from kernel.pricing.normal import Array, normal_cdf_array

# Points of the integral; where rate x years exceeds the bound its integrand may be almost a step.
_COARSE_QUADRATURE: Final = 32
_FINE_QUADRATURE: Final = 192
_COARSE_GROWTH: Final = 0.1
# Below this the interest on the strike is less than 1e-12 of it.
_NEGLIGIBLE_INTEREST: Final = 1e-12


def american_value(
    is_sbtc: Array,
    spot: Array,
    strike: Array,
    floor: Array,
    volatility: Array,
    rate: float,
    time_years: Array,
    horizon: float,
) -> Array:
    """Value per BTC in USD, one-dimensional arrays of one length; 0 < `time_years` <= `horizon`, `rate` >= 0.

    The exercise boundaries are those solved for `horizon`, which rows of several calls may share.
    """
    now = payoff(is_sbtc, spot, strike, floor)
    value = now.copy()
    waiting = spot > floor
    if not waiting.any():
        return value
    price, target, cap = spot[waiting], strike[waiting], floor[waiting]
    deviation, years = volatility[waiting], time_years[waiting]
    kept = touch_value(price, target, cap, deviation, rate, years)
    if rate * horizon > _NEGLIGIBLE_INTEREST:
        boundary = exercise_boundary(deviation, rate, horizon)
        kept = kept + _interest_gained(boundary, price, target, cap, deviation, rate, years)
        exercised = np.log(target / price) >= boundary.depth(years[:, None])[:, 0]
        kept = np.where(exercised, now[waiting], kept)
    value[waiting] = np.clip(kept, now[waiting], target - cap)
    return value


def held_above(strike: Array, floor: Array, volatility: Array, rate: float, time_years: Array, horizon: float) -> Array:
    """The prices in USD per BTC above which a policy is held; at and below them it is exercised at once."""
    if rate * horizon <= _NEGLIGIBLE_INTEREST:
        return floor
    depth = exercise_boundary(volatility, rate, horizon).depth(time_years[:, None])[:, 0]
    return np.maximum(floor, strike * np.exp(-depth))


def _build_quadrature(count: int) -> tuple[Array, Array]:
    # Shares of the interval, dense like a square root at both ends, where the integrand behaves like one.
    points, weights = np.polynomial.legendre.leggauss(count)
    angle = 0.25 * np.pi * (points + 1.0)
    return np.sin(angle) ** 2, 0.25 * np.pi * weights * np.sin(2.0 * angle)


_COARSE: Final = _build_quadrature(_COARSE_QUADRATURE)
_FINE: Final = _build_quadrature(_FINE_QUADRATURE)


def _interest_gained(
    boundary: ExerciseBoundary,
    spot: Array,
    strike: Array,
    floor: Array,
    volatility: Array,
    rate: float,
    time_years: Array,
) -> Array:
    shares, weights = _COARSE if rate * float(time_years.max()) <= _COARSE_GROWTH else _FINE
    above_floor = np.minimum(boundary.time_to_reach(np.log(strike / floor)), time_years)
    left = above_floor[:, None] * shares
    passed = time_years[:, None] - left
    edge = np.minimum(boundary.depth(left), np.log(strike / floor)[:, None])
    variance = (volatility**2)[:, None]
    deviation = np.sqrt(variance * passed)
    drift = (rate - 0.5 * variance) * passed
    to_floor = np.log(floor / spot)[:, None]
    to_edge = np.log(strike / spot)[:, None] - edge
    mirror = to_floor - to_edge
    bounds = np.stack((to_edge - drift, to_floor - drift, -mirror - to_floor - drift, -to_floor - drift))
    below = normal_cdf_array(bounds / deviation)
    image = np.exp((2.0 * rate / variance - 1.0) * to_floor)
    between = below[0] - below[1] - image * (below[2] - below[3])
    gained = (np.exp(-rate * passed) * between * weights).sum(axis=1)
    return np.asarray(rate * strike * above_floor * gained)

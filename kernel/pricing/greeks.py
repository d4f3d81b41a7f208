"""Greeks of policies, for many at once: how a value moves with spot, volatility, time and rate.

The European ones are closed forms: those of a put struck at K less those of w puts struck at F; w is 1 for STX and
K/F for sBTC. The American ones are those of the payoff where it is exercised at once: at and below the floor, and the
exercise boundary. Elsewhere delta, gamma, vega and rho are derivatives of the quartic through five values, all on the
policy's side of that edge, and theta follows from the pricing equation, which holds wherever a policy is held:
theta = rate V - rate S delta - sigma**2 S**2 gamma / 2. With D = sigma x root of time, spot steps are shares of S D.
At rate 0, where the value is a closed form, what that leaves is below 1e-6 in delta, S D gamma, vega / S and
theta / S; with interest it is below 1e-3 in those and in rho / S, since the exercise boundary is itself a table.
At rate 0 an American rho is not a number: the boundary leaves the floor at any rate above it, so that the slope there
says nothing of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from kernel.pricing.american import american_value, held_above
from kernel.pricing.errors import check_not_negative
from kernel.pricing.normal import Array, normal_cdf_and_density
from kernel.pricing.policy import PolicyTerms, Portfolio, market_column, single

# Steps between the five points: of spot per standard deviation, of volatility per volatility, of the rate.
_SPOT_STEP: Final = 0.01
_VOLATILITY_STEP: Final = 0.005
_RATE_STEP: Final = 0.002
_PLACES: Final = np.arange(-2.0, 3.0)
# From values at the places to the coefficients of their quartic, lowest power first.
_TO_QUARTIC: Final = np.linalg.inv(np.vander(_PLACES, increasing=True))
# Bounds the memory as in a mark.
_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True)
class Greeks:
    """USD per BTC, one row for each policy: `delta` per USD of spot, `gamma` per USD squared, `vega` per 1.00 of
    volatility, `theta` per year of passing time, `rho` per 1.00 of rate.
    """

    delta: Array
    gamma: Array
    vega: Array
    theta: Array
    rho: Array


@dataclass(frozen=True, slots=True)
class PolicyGreeks:
    """As `Greeks`, of one policy."""

    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


@dataclass(frozen=True, slots=True)
class _Rows:
    """Policies that are alive, in their market."""

    is_sbtc: Array
    spot: Array
    strike: Array
    floor: Array
    volatility: Array
    years: Array
    rate: float
    horizon: float

    def value(self, spot: Array, volatility: Array, rate: float) -> Array:
        return american_value(self.is_sbtc, spot, self.strike, self.floor, volatility, rate, self.years, self.horizon)


def american_greeks(terms: PolicyTerms, spot: float, volatility: float, rate: float, time_years: float) -> PolicyGreeks:
    """Greeks of the American value of one policy; arguments as for `value_policy`."""
    return _one(mark_american_greeks(single(terms, time_years), spot, volatility, rate))


def european_greeks(terms: PolicyTerms, spot: float, volatility: float, rate: float, time_years: float) -> PolicyGreeks:
    """Greeks of the European value of one policy; arguments as for `value_policy`."""
    return _one(mark_european_greeks(single(terms, time_years), spot, volatility, rate))


def mark_american_greeks(portfolio: Portfolio, spot: float | Array, volatility: float | Array, rate: float) -> Greeks:
    """Greeks of the American values of many policies; arguments as for `mark_portfolio`."""
    return _mark(portfolio, spot, volatility, rate, _american)


def mark_european_greeks(portfolio: Portfolio, spot: float | Array, volatility: float | Array, rate: float) -> Greeks:
    """Greeks of the European values of many policies; arguments as for `mark_portfolio`."""
    return _mark(portfolio, spot, volatility, rate, _european)


def _mark(
    portfolio: Portfolio,
    spot: float | Array,
    volatility: float | Array,
    rate: float,
    of_rows: Callable[[_Rows], Array],
) -> Greeks:
    spots = market_column("spot", spot, portfolio)
    volatilities = market_column("volatility", volatility, portfolio)
    check_not_negative("rate", rate)
    is_sbtc = portfolio.is_sbtc.astype(np.float64)
    found = np.zeros((5, is_sbtc.size))
    found[0] = _payoff_slope(is_sbtc, spots, portfolio.strike_usd, portfolio.floor_usd)
    horizon = float(portfolio.time_years.max(initial=0.0))
    alive = np.flatnonzero(portfolio.time_years > 0.0)
    for start in range(0, alive.size, _CHUNK):
        chosen = alive[start : start + _CHUNK]
        rows = _Rows(
            is_sbtc=is_sbtc[chosen],
            spot=spots[chosen],
            strike=portfolio.strike_usd[chosen],
            floor=portfolio.floor_usd[chosen],
            volatility=volatilities[chosen],
            years=portfolio.time_years[chosen],
            rate=rate,
            horizon=horizon,
        )
        found[:, chosen] = of_rows(rows)
    return Greeks(*found)


def _one(greeks: Greeks) -> PolicyGreeks:
    columns = (greeks.delta, greeks.gamma, greeks.vega, greeks.theta, greeks.rho)
    return PolicyGreeks(*(float(column[0]) for column in columns))


def _payoff_slope(is_sbtc: Array, spot: Array, strike: Array, floor: Array) -> Array:
    below_floor = np.where(is_sbtc > 0.0, strike / floor - 1.0, 0.0)
    return np.where(spot >= strike, 0.0, np.where(spot > floor, -1.0, below_floor))


def _european(rows: _Rows) -> Array:
    weight = np.where(rows.is_sbtc > 0.0, rows.strike / rows.floor, 1.0)
    return _put(rows, rows.strike) - weight * _put(rows, rows.floor)


def _put(rows: _Rows, strike: Array) -> Array:
    root_time = np.sqrt(rows.years)
    deviation = rows.volatility * root_time
    d1 = (np.log(rows.spot / strike) + rows.rate * rows.years) / deviation + 0.5 * deviation
    above, density = normal_cdf_and_density(-d1)
    cash = strike * np.exp(-rows.rate * rows.years) * normal_cdf_and_density(deviation - d1)[0]
    half_decay = 0.5 * rows.spot * density * rows.volatility / root_time
    return np.stack(
        (
            -above,
            density / (rows.spot * deviation),
            rows.spot * density * root_time,
            rows.rate * cash - half_decay,
            -rows.years * cash,
        )
    )


def _american(rows: _Rows) -> Array:
    edge = held_above(rows.strike, rows.floor, rows.volatility, rows.rate, rows.years, rows.horizon)
    step = _SPOT_STEP * rows.spot * rows.volatility * np.sqrt(rows.years)
    # The middle of the five points, moved up where they would reach over the edge.
    middle = np.maximum(rows.spot, edge + 2.0 * step)
    prices = middle + _PLACES[:, None] * step
    curve = _TO_QUARTIC @ np.stack([rows.value(price, rows.volatility, rows.rate) for price in prices])
    offset = (rows.spot - middle) / step
    value, delta, gamma = (_derivative(curve, offset, order) / step**order for order in range(3))
    lift = _VOLATILITY_STEP * rows.volatility
    vega = _slope([rows.value(rows.spot, rows.volatility + place * lift, rows.rate) for place in _PLACES], 0.0) / lift
    theta = rows.rate * (value - rows.spot * delta) - 0.5 * (rows.volatility * rows.spot) ** 2 * gamma
    slope = _payoff_slope(rows.is_sbtc, rows.spot, rows.strike, rows.floor)
    exercised = rows.spot <= edge
    held = np.stack((delta, gamma, vega, theta, _rho(rows)))
    held[0] = np.where(exercised, slope, held[0])
    held[1:] = np.where(exercised, 0.0, held[1:])
    return held


def _rho(rows: _Rows) -> Array:
    if rows.rate == 0.0:
        return np.full_like(rows.spot, np.nan)
    lowest = min(rows.rate, 2.0 * _RATE_STEP)
    rates = rows.rate - lowest + _RATE_STEP * np.arange(5.0)
    values = [rows.value(rows.spot, rows.volatility, one) for one in rates.tolist()]
    return _slope(values, lowest / _RATE_STEP - 2.0) / _RATE_STEP


def _slope(values: list[Array], offset: float) -> Array:
    return _derivative(_TO_QUARTIC @ np.stack(values), np.asarray(offset), 1)


def _derivative(curve: Array, offset: Array, order: int) -> Array:
    # Of the quartic with these coefficients at `offset` steps from its middle.
    powers = np.polynomial.polynomial.polyder(curve, order) if order else curve
    return np.asarray(np.polynomial.polynomial.polyval(offset, powers, tensor=False))

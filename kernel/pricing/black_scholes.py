"""Black-Scholes European put: value, Greeks, the cash-or-nothing put, implied volatility.

Spot and strike in USD per BTC, volatility and rate per year (continuous compounding, no dividend), time in
years of 365 days. All floats; `PricingError` on input outside the model. Closed forms: Hull, "Options,
Futures, and Other Derivatives", chapters on Black-Scholes-Merton, Greeks and exotic options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kernel.pricing.errors import PricingError, check_finite, check_positive
from kernel.pricing.normal import normal_cdf, normal_pdf

_LOWEST_VOLATILITY: Final = 1e-4
_HIGHEST_VOLATILITY: Final = 20.0
_MAX_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class EuropeanPut:
    """Value in USD per BTC and its derivatives.

    `delta` per USD of spot, `gamma` per USD squared, `vega` per 1.00 of volatility, `theta` per year of
    passing time, `rho` per 1.00 of rate.
    """

    value: float
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


@dataclass(frozen=True, slots=True)
class CashOrNothingPut:
    """Value and delta of a claim that pays a cash amount if the price at expiry is below the strike."""

    value: float
    delta: float


def european_put(spot: float, strike: float, volatility: float, rate: float, time_years: float) -> EuropeanPut:
    """The European put with its Greeks; every argument positive, the rate any finite number."""
    d1, d2 = _d1_d2(spot, strike, volatility, rate, time_years)
    root_time = math.sqrt(time_years)
    present_strike = strike * math.exp(-rate * time_years)
    below_strike = normal_cdf(-d2)
    density = normal_pdf(d1)
    return EuropeanPut(
        value=max(present_strike * below_strike - spot * normal_cdf(-d1), 0.0),
        delta=-normal_cdf(-d1),
        gamma=density / (spot * volatility * root_time),
        vega=spot * density * root_time,
        theta=-0.5 * spot * density * volatility / root_time + rate * present_strike * below_strike,
        rho=-time_years * present_strike * below_strike,
    )


def put_value(spot: float, strike: float, volatility: float, rate: float, time_years: float) -> float:
    """Value alone of `european_put`."""
    d1, d2 = _d1_d2(spot, strike, volatility, rate, time_years)
    return max(strike * math.exp(-rate * time_years) * normal_cdf(-d2) - spot * normal_cdf(-d1), 0.0)


def cash_or_nothing_put(
    spot: float, strike: float, cash: float, volatility: float, rate: float, time_years: float
) -> CashOrNothingPut:
    """A claim on `cash` USD if the price at expiry is below `strike`."""
    check_positive("cash", cash)
    _, d2 = _d1_d2(spot, strike, volatility, rate, time_years)
    present_cash = cash * math.exp(-rate * time_years)
    return CashOrNothingPut(
        value=present_cash * normal_cdf(-d2),
        delta=-present_cash * normal_pdf(d2) / (spot * volatility * math.sqrt(time_years)),
    )


def implied_volatility(value: float, spot: float, strike: float, rate: float, time_years: float) -> float:
    """The volatility at which `put_value` equals `value`, by Newton's method kept inside a bisection.

    PricingError if `value` lies outside the values that volatilities from 0.0001 to 20 can give.
    """
    check_finite("value", value)
    low, high = _LOWEST_VOLATILITY, _HIGHEST_VOLATILITY
    if not put_value(spot, strike, low, rate, time_years) < value < put_value(spot, strike, high, rate, time_years):
        raise PricingError(f"no volatility gives the value {value!r}")
    guess = min(max(_inflection(spot, strike, rate, time_years), 0.1), 5.0)
    for _ in range(_MAX_STEPS):
        put = european_put(spot, strike, guess, rate, time_years)
        if put.value > value:
            high = guess
        else:
            low = guess
        step = (put.value - value) / put.vega if put.vega > 0.0 else math.inf
        following = guess - step
        if not low < following < high:
            following = 0.5 * (low + high)
        if abs(following - guess) <= 1e-15 * guess:
            return following
        guess = following
    return guess


def _inflection(spot: float, strike: float, rate: float, time_years: float) -> float:
    # Vega is greatest here: from here Newton's method converges monotonically (Manaster and Koehler, 1982).
    return math.sqrt(2.0 * abs(math.log(spot / strike) + rate * time_years) / time_years)


def _d1_d2(spot: float, strike: float, volatility: float, rate: float, time_years: float) -> tuple[float, float]:
    check_positive("spot", spot)
    check_positive("strike", strike)
    check_positive("volatility", volatility)
    check_positive("time_years", time_years)
    check_finite("rate", rate)
    deviation = volatility * math.sqrt(time_years)
    d1 = (math.log(spot / strike) + rate * time_years) / deviation + 0.5 * deviation
    return d1, d1 - deviation

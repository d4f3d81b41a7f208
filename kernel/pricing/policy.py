"""Entry points for services: the value of one policy, and of a portfolio at one market.

Values are floats in USD per BTC; `kernel.units` turns them into integers (`usd_e8_from_float`, upward).
Volatility and rate are per year of 365 days; the rate is continuous and not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernel.pricing.american import american_value
from kernel.pricing.capped import european_value, payoff
from kernel.pricing.errors import PricingError, check_not_negative, check_positive
from kernel.pricing.normal import Array
from kernel.units import Token

BURN_BLOCKS_PER_YEAR: Final = 365 * 144
# Bounds the memory of the integral: 4 arrays of this many rows by 32 columns at once.
_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What the payoff depends on: settlement token, strike and floor in USD per BTC, 0 < floor < strike."""

    token: Token
    strike_usd: float
    floor_usd: float

    def __post_init__(self) -> None:
        check_positive("strike_usd", self.strike_usd)
        if check_positive("floor_usd", self.floor_usd) >= self.strike_usd:
            raise PricingError(f"floor_usd {self.floor_usd} is not below strike_usd {self.strike_usd}")


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """USD per BTC: exercised at expiry only, exercised at best, and what that choice adds.

    `early_exercise` = `american` - `european`, never negative.
    """

    european: float
    american: float
    early_exercise: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Terms of many policies, one row each: arrays of one length.

    `is_sbtc` bool; strikes and floors in USD per BTC; `time_years` left to expiry, 0 when none is left.
    """

    is_sbtc: NDArray[np.bool_]
    strike_usd: Array
    floor_usd: Array
    time_years: Array

    def __post_init__(self) -> None:
        columns = (self.is_sbtc, self.strike_usd, self.floor_usd, self.time_years)
        if len({column.shape for column in columns}) != 1 or self.is_sbtc.ndim != 1:
            raise PricingError("a portfolio's columns must be one-dimensional and of one length")
        if not all(bool(np.isfinite(column).all()) for column in columns[1:]):
            raise PricingError("a portfolio's figures must be finite")
        if not bool(((self.floor_usd > 0.0) & (self.floor_usd < self.strike_usd)).all()):
            raise PricingError("each floor must be positive and below its strike")
        if not bool((self.time_years >= 0.0).all()):
            raise PricingError("time_years must not be negative")


@dataclass(frozen=True, slots=True)
class PortfolioValue:
    """USD per BTC, one row for each of the portfolio's."""

    european: Array
    american: Array


def years_from_blocks(blocks: int) -> float:
    """Years of 365 days in so many burn blocks of 10 minutes. PricingError if negative."""
    if blocks < 0:
        raise PricingError(f"blocks must not be negative: {blocks}")
    return blocks / BURN_BLOCKS_PER_YEAR


def single(terms: PolicyTerms, *times_years: float) -> Portfolio:
    """One policy as a portfolio, with one row for each time left; PricingError unless none is negative."""
    for time_years in times_years:
        check_not_negative("time_years", time_years)
    count = len(times_years)
    return Portfolio(
        is_sbtc=np.full(count, terms.token is Token.SBTC),
        strike_usd=np.full(count, terms.strike_usd),
        floor_usd=np.full(count, terms.floor_usd),
        time_years=np.array(times_years, dtype=np.float64),
    )


def value_policy(terms: PolicyTerms, spot: float, volatility: float, rate: float, time_years: float) -> PolicyValue:
    """Model value of one policy per BTC; at time 0 its payoff.

    `spot` USD per BTC and `volatility` positive, `rate` and `time_years` not negative; else PricingError.
    """
    return value_policy_at(terms, spot, volatility, rate, (time_years,))[0]


def value_policy_at(
    terms: PolicyTerms, spot: float, volatility: float, rate: float, times_years: Sequence[float]
) -> Sequence[PolicyValue]:
    """As `value_policy`, for several times to expiry in one go, which costs little more than one of them."""
    portfolio = single(terms, *times_years)
    value = mark_portfolio(portfolio, spot, volatility, rate)
    pairs = zip(value.european.tolist(), value.american.tolist(), strict=True)
    return [PolicyValue(european, american, american - european) for european, american in pairs]


def mark_portfolio(portfolio: Portfolio, spot: float | Array, volatility: float | Array, rate: float) -> PortfolioValue:
    """Model values of many policies; the same figures as `value_policy` to 5e-6 of spot.

    Spot and volatility are one for all, or one for each. Arguments as for `value_policy`.
    """
    spots = market_column("spot", spot, portfolio)
    volatilities = market_column("volatility", volatility, portfolio)
    check_not_negative("rate", rate)
    is_sbtc = portfolio.is_sbtc.astype(np.float64)
    european = payoff(is_sbtc, spots, portfolio.strike_usd, portfolio.floor_usd)
    american = european.copy()
    alive = np.flatnonzero(portfolio.time_years > 0.0)
    horizon = float(portfolio.time_years.max(initial=0.0))
    columns = (is_sbtc, spots, portfolio.strike_usd, portfolio.floor_usd, volatilities)
    for start in range(0, alive.size, _CHUNK):
        chosen = alive[start : start + _CHUNK]
        sbtc, prices, strike, floor, deviations = (column[chosen] for column in columns)
        years = portfolio.time_years[chosen]
        european[chosen] = european_value(sbtc, prices, strike, floor, deviations, rate, years)
        best = american_value(sbtc, prices, strike, floor, deviations, rate, years, horizon)
        american[chosen] = np.maximum(best, european[chosen])
    return PortfolioValue(european, american)


def market_column(name: str, value: float | Array, portfolio: Portfolio) -> Array:
    """One positive figure for each policy, from one for all or a column of them; PricingError naming `name`."""
    column = np.asarray(value, dtype=np.float64)
    if column.shape not in ((), portfolio.is_sbtc.shape):
        raise PricingError(f"{name} must be one number, or one for each policy")
    if not bool((np.isfinite(column) & (column > 0.0)).all()):
        raise PricingError(f"{name} must be finite and positive")
    return np.broadcast_to(column, portfolio.is_sbtc.shape)

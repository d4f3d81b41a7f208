"""Greeks of policies: closed forms against QuantLib, American ones against differences of higher order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kernel.pricing import (
    PolicyGreeks,
    PolicyTerms,
    Portfolio,
    PricingError,
    american_greeks,
    european_greeks,
    european_put,
    mark_american_greeks,
    mark_european_greeks,
    value_policy,
)
from kernel.units import Token
from tests.bench.quantlib import Vanilla, reference

SPOT = 65_000.0
TOKEN = st.sampled_from(list(Token))
MONEYNESS = st.floats(0.6, 1.3)
DEPTH = st.floats(0.4, 0.95)
VOLATILITY = st.floats(0.2, 1.5)
DAYS = st.floats(0.2, 365)
# A difference of eighth order, for the first and the second derivative.
FIRST = (1 / 280, -4 / 105, 1 / 5, -4 / 5, 0.0, 4 / 5, -1 / 5, 4 / 105, -1 / 280)
SECOND = (-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560)
PLACES = range(-4, 5)


def dimensionless(greeks: PolicyGreeks, deviation: float) -> list[float]:
    """Greeks that are all of order one; without a rho that is not a number."""
    sizes = [greeks.delta, greeks.gamma * SPOT * deviation, greeks.vega / SPOT, greeks.theta / SPOT, greeks.rho / SPOT]
    return [size for size in sizes if not math.isnan(size)]


def difference(weights: tuple[float, ...], values: list[float]) -> float:
    """A weighted sum."""
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


@given(token=TOKEN, moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, rate=st.floats(0.0, 0.1), days=DAYS)
@example(token=Token.STX, moneyness=0.7, depth=0.4, volatility=0.44, rate=0.05, days=7.0)
@settings(max_examples=50)
def test_european_greeks_are_those_of_its_puts(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: float
) -> None:
    """Each European Greek is that of the put at the strike less w of the put at the floor.

    Those are QuantLib's to 1e-7 (`test_black_scholes`, the recorded vectors).
    """
    strike = moneyness * SPOT
    floor = depth * strike
    ours = european_greeks(PolicyTerms(token, strike, floor), SPOT, volatility, rate, days / 365)
    upper, lower = (european_put(SPOT, level, volatility, rate, days / 365) for level in (strike, floor))
    weight = strike / floor if token is Token.SBTC else 1.0
    for name in ("delta", "gamma", "vega", "theta", "rho"):
        put, cap = getattr(upper, name), weight * getattr(lower, name)
        assert getattr(ours, name) == pytest.approx(put - cap, rel=1e-10, abs=1e-11 * (abs(put) + abs(cap)) + 1e-18)


@given(token=TOKEN, moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, days=DAYS)
@settings(max_examples=50)
def test_american_greeks_are_fine_differences(
    token: Token, moneyness: float, depth: float, volatility: float, days: float
) -> None:
    """At rate 0 delta, gamma, vega and theta are those of differences of eighth order, to 1e-6 of their scale."""
    policy = PolicyTerms(token, moneyness * SPOT, moneyness * depth * SPOT)
    years = days / 365
    deviation = volatility * math.sqrt(years)
    step = 0.03 * SPOT * deviation
    assume(policy.floor_usd + 4.5 * step < SPOT)

    def value(spot: float = SPOT, by: float = volatility, left: float = years) -> float:
        return value_policy(policy, spot, by, 0.0, left).american

    prices = [value(spot=SPOT + place * step) for place in PLACES]
    theirs = PolicyGreeks(
        delta=difference(FIRST, prices) / step,
        gamma=difference(SECOND, prices) / step**2,
        vega=difference(FIRST, [value(by=volatility * (1 + 0.02 * place)) for place in PLACES]) / 0.02 / volatility,
        theta=-difference(FIRST, [value(left=years * (1 + 0.02 * place)) for place in PLACES]) / 0.02 / years,
        rho=0.0,
    )
    ours = american_greeks(policy, SPOT, volatility, 0.0, years)
    pairs = zip(dimensionless(ours, deviation)[:3], dimensionless(theirs, deviation)[:3], strict=True)
    assert all(mine == pytest.approx(other, abs=1e-6) for mine, other in pairs)
    assert ours.theta * years / SPOT == pytest.approx(theirs.theta * years / SPOT, abs=1e-6)
    assert math.isnan(ours.rho)


@pytest.mark.parametrize("moneyness", [0.8, 1.0, 1.1])
@pytest.mark.parametrize(("volatility", "rate", "days"), [(0.4, 0.05, 180), (0.8, 0.02, 30), (1.2, 0.1, 365)])
def test_with_a_far_floor_they_are_those_of_the_american_put_of_quantlib(
    moneyness: float, volatility: float, rate: float, days: int
) -> None:
    """With the floor out of reach delta, gamma, vega, theta and rho are differences of QuantLib's American put."""
    put = Vanilla(SPOT, moneyness * SPOT, volatility, rate, days)
    deviation = volatility * math.sqrt(days / 365)
    step = 0.02 * SPOT * deviation

    def value(spot: float = SPOT, up: float = 0.0, more: float = 0.0, later: int = 0) -> float:
        return reference(Vanilla(spot, put.strike, volatility + up, rate + more, days + later))

    prices = [value(spot=SPOT + place * step) for place in (-1, 0, 1)]
    theirs = [
        (prices[2] - prices[0]) / (2 * step),
        (prices[2] - 2 * prices[1] + prices[0]) / step**2 * SPOT * deviation,
        (value(up=1e-3) - value(up=-1e-3)) / 2e-3 / SPOT,
        (value(later=-1) - value(later=1)) / 2 * 365 / SPOT,
        (value(more=1e-3) - value(more=-1e-3)) / 2e-3 / SPOT,
    ]
    policy = PolicyTerms(Token.STX, put.strike, 1e-9 * put.strike)
    ours = dimensionless(american_greeks(policy, SPOT, volatility, rate, days / 365), deviation)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize(("spot", "sbtc_slope"), [(30_000.0, 0.5), (40_000.0, 0.5)])
def test_at_the_cap_only_the_coin_itself_moves(spot: float, sbtc_slope: float) -> None:
    """At and below the floor STX pays fixed dollars, sBTC a fixed number of sats; nothing else changes the value."""
    stx, sbtc = (PolicyTerms(token, 60_000.0, 40_000.0) for token in (Token.STX, Token.SBTC))
    assert american_greeks(stx, spot, 0.6, 0.04, 0.1) == PolicyGreeks(0.0, 0.0, 0.0, 0.0, 0.0)
    assert american_greeks(sbtc, spot, 0.6, 0.04, 0.1) == PolicyGreeks(sbtc_slope, 0.0, 0.0, 0.0, 0.0)


def test_where_it_is_exercised_at_once_it_moves_as_the_payoff() -> None:
    """Below the exercise boundary, and with no time left, delta is -1 in the money and 0 out of it."""
    policy = PolicyTerms(Token.STX, 90_000.0, 20_000.0)
    payoff = PolicyGreeks(-1.0, 0.0, 0.0, 0.0, 0.0)
    assert american_greeks(policy, SPOT, 0.2, 0.2, 1.0) == payoff
    assert american_greeks(policy, SPOT, 0.6, 0.04, 0.0) == european_greeks(policy, SPOT, 0.6, 0.0, 0.0) == payoff
    assert american_greeks(policy, 95_000.0, 0.6, 0.0, 0.0) == PolicyGreeks(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("rate", [0.0, 0.04])
def test_greeks_of_many_are_those_of_each(rate: float) -> None:
    """Greeks of a portfolio are those of its policies alone: to 1e-9 of scale at rate 0, to 1e-2 with interest."""
    random = np.random.default_rng(7)
    count = 25
    strikes = SPOT * random.uniform(0.7, 1.2, count)
    floors, years = strikes * random.uniform(0.4, 0.9, count), random.uniform(0.0, 0.5, count)
    is_sbtc, volatilities = random.random(count) < 0.5, random.uniform(0.4, 1.2, count)
    portfolio = Portfolio(is_sbtc, strikes, floors, years)
    american = mark_american_greeks(portfolio, SPOT, volatilities, rate)
    european = mark_european_greeks(portfolio, SPOT, volatilities, rate)
    for row in range(count):
        terms = PolicyTerms(Token.SBTC if is_sbtc[row] else Token.STX, float(strikes[row]), float(floors[row]))
        market = (SPOT, float(volatilities[row]), rate, float(years[row]))
        deviation = float(volatilities[row] * math.sqrt(years[row]))
        for many, alone, tolerance in (
            (american, american_greeks(terms, *market), 1e-2 if rate else 1e-9),
            (european, european_greeks(terms, *market), 1e-9),
        ):
            columns = (many.delta, many.gamma, many.vega, many.theta, many.rho)
            found = PolicyGreeks(*(float(column[row]) for column in columns))
            pairs = zip(dimensionless(found, deviation), dimensionless(alone, deviation), strict=True)
            assert all(mine == pytest.approx(other, abs=tolerance) for mine, other in pairs)


def test_markets_outside_the_model_have_no_greeks() -> None:
    """A spot, volatility or rate outside the model is refused as in a value."""
    policy = PolicyTerms(Token.STX, 60_000.0, 40_000.0)
    for market in ((0.0, 0.5, 0.0), (SPOT, math.nan, 0.0), (SPOT, 0.5, -0.01)):
        for greeks in (american_greeks, european_greeks):
            with pytest.raises(PricingError):
                greeks(policy, *market, 0.1)

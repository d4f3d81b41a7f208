"""The capped put: closed forms against quadrature, a lattice and QuantLib; bounds and monotonicity."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernel.pricing import (
    PolicyTerms,
    Portfolio,
    PricingError,
    mark_portfolio,
    value_policy,
    years_from_blocks,
)
from kernel.units import Token

SPOT = 65_000.0
TOLERANCE = 1e-6 * SPOT
TOKEN = st.sampled_from(list(Token))
MONEYNESS = st.floats(0.5, 1.3)
DEPTH = st.floats(0.4, 0.98)
VOLATILITY = st.floats(0.2, 1.5)
DAYS = st.floats(0.2, 365)
RATE = st.one_of(st.just(0.0), st.floats(0.001, 0.06))


def terms(token: Token, moneyness: float, depth: float) -> PolicyTerms:
    return PolicyTerms(token, moneyness * SPOT, moneyness * depth * SPOT)


def payoff(policy: PolicyTerms, price: float) -> float:
    gain = max(policy.strike_usd - max(price, policy.floor_usd), 0.0)
    return gain * min(price / policy.floor_usd, 1.0) if policy.token is Token.SBTC else gain


def quadrature(policy: PolicyTerms, volatility: float, rate: float, years: float) -> float:
    """The payoff integrated over the lognormal density, piecewise between its kinks."""
    deviation = volatility * math.sqrt(years)
    drift = (rate - 0.5 * volatility**2) * years
    kinks = [(math.log(price / SPOT) - drift) / deviation for price in (policy.floor_usd, policy.strike_usd)]
    edges = [-12.0, *(min(max(kink, -12.0), 12.0) for kink in kinks)]
    nodes, weights = np.polynomial.legendre.leggauss(120)
    total = 0.0
    for low, high in itertools.pairwise(edges):
        points = 0.5 * (high + low) + 0.5 * (high - low) * nodes
        prices = SPOT * np.exp(drift + deviation * points)
        values = np.array([payoff(policy, price) for price in prices.tolist()])
        total += 0.5 * (high - low) * float((weights * values * np.exp(-0.5 * points**2)).sum())
    return math.exp(-rate * years) * total / math.sqrt(2 * math.pi)


def lattice(policy: PolicyTerms, volatility: float, rate: float, years: float, steps_to_floor: int) -> float:
    """A trinomial lattice in the logarithm whose nodes meet the floor, where it stops at the cap."""
    step = math.log(SPOT / policy.floor_usd) / steps_to_floor
    count = math.ceil(years * 3.0 * volatility**2 / step**2)
    interval = years / count
    drift = (rate - 0.5 * volatility**2) * interval / step
    spread = volatility**2 * interval / step**2 + drift**2
    up, down = 0.5 * (spread + drift), 0.5 * (spread - drift)
    reach = steps_to_floor + math.ceil(7.0 * volatility * math.sqrt(years) / step) + 2
    prices: NDArray[np.float64] = policy.floor_usd * np.exp(step * np.arange(reach + 1))
    exercise = np.maximum(policy.strike_usd - prices, 0.0)
    value, discount = exercise.copy(), math.exp(-rate * interval)
    for _ in range(count):
        kept = discount * (up * value[2:] + (1.0 - spread) * value[1:-1] + down * value[:-2])
        value[1:-1] = np.maximum(kept, exercise[1:-1])
    return float(value[steps_to_floor])


@given(token=TOKEN, moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, rate=RATE, days=DAYS)
@settings(max_examples=60)
def test_european_closed_form_is_the_integral(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: float
) -> None:
    """The closed form equals the payoff integrated over the density, to 1e-12 of spot."""
    policy = terms(token, moneyness, depth)
    value = value_policy(policy, SPOT, volatility, rate, days / 365)
    assert value.european == pytest.approx(quadrature(policy, volatility, rate, days / 365), abs=1e-12 * SPOT)


@pytest.mark.parametrize(
    ("token", "moneyness", "depth", "volatility", "rate", "days"),
    [
        (Token.SBTC, 1.05, 0.6, 1.3, 0.02, 180),
        (Token.STX, 0.9, 0.8, 0.6, 0.04, 30),
        (Token.SBTC, 1.2, 0.75, 0.3, 0.05, 90),
        (Token.STX, 1.0, 0.5, 0.9, 0.0, 60),
        (Token.STX, 1.0, 0.9, 0.25, 0.05, 30),
        (Token.SBTC, 0.7, 0.5, 1.5, 0.03, 120),
    ],
)
def test_american_agrees_with_a_lattice(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: int
) -> None:
    """An independent lattice aligned with the floor, extrapolated, gives the value to 2e-5 of spot."""
    policy = terms(token, moneyness, depth)
    years = days / 365
    # Enough nodes between spot and floor that a node is at most a twelfth of a standard deviation.
    base = math.ceil(12 * math.log(SPOT / policy.floor_usd) / (volatility * math.sqrt(years)))
    coarse, fine = (lattice(policy, volatility, rate, years, base * finer) for finer in (1, 2))
    value = value_policy(policy, SPOT, volatility, rate, years)
    assert value.american == pytest.approx((4 * fine - coarse) / 3, abs=2e-5 * SPOT)


def quantlib_process(volatility: float, rate: float) -> ql.BlackScholesMertonProcess:
    today = ql.Date(1, 1, 2025)
    ql.Settings.instance().evaluationDate = today
    count = ql.Actual365Fixed()
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), volatility, count)),
    )


@pytest.mark.parametrize("moneyness", [0.7, 0.9, 1.0, 1.1, 1.25])
@pytest.mark.parametrize(("volatility", "rate", "days"), [(0.25, 0.05, 180), (0.6, 0.04, 30), (0.9, 0.02, 365)])
def test_far_floor_is_the_american_put_of_quantlib(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """With the floor out of reach the policy is the uncapped American put."""
    today = ql.Date(1, 1, 2025)
    option = ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Put, moneyness * SPOT), ql.AmericanExercise(today, today + days)
    )
    engine = ql.QdFpAmericanEngine(quantlib_process(volatility, rate), ql.QdFpAmericanEngine.highPrecisionScheme())
    option.setPricingEngine(engine)
    value = value_policy(terms(Token.STX, moneyness, 0.001), SPOT, volatility, rate, days / 365)
    assert value.american == pytest.approx(option.NPV(), abs=TOLERANCE)


@pytest.mark.parametrize(("moneyness", "depth"), [(0.8, 0.9), (1.0, 0.6), (1.2, 0.75)])
def test_without_interest_the_policy_is_a_barrier_option(moneyness: float, depth: float) -> None:
    """At rate 0 only the floor ends a policy early: QuantLib's knock-out put with the cap as rebate."""
    today = ql.Date(1, 1, 2025)
    policy = terms(Token.SBTC, moneyness, depth)
    option = ql.BarrierOption(
        ql.Barrier.DownOut,
        policy.floor_usd,
        policy.strike_usd - policy.floor_usd,
        ql.PlainVanillaPayoff(ql.Option.Put, policy.strike_usd),
        ql.EuropeanExercise(today + 73),
    )
    option.setPricingEngine(ql.AnalyticBarrierEngine(quantlib_process(0.7, 0.0)))
    assert value_policy(policy, SPOT, 0.7, 0.0, 0.2).american == pytest.approx(option.NPV(), abs=1e-9 * SPOT)


@given(token=TOKEN, moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, rate=RATE, days=DAYS)
def test_value_stays_inside_its_bounds(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: float
) -> None:
    """Payoff now <= American <= cap, European <= American, and early exercise is their difference."""
    policy = terms(token, moneyness, depth)
    value = value_policy(policy, SPOT, volatility, rate, days / 365)
    assert payoff(policy, SPOT) - 1e-9 <= value.american <= policy.strike_usd - policy.floor_usd + 1e-9
    assert 0.0 <= value.european <= value.american
    assert value.early_exercise == value.american - value.european


@given(
    token=TOKEN,
    moneyness=MONEYNESS,
    depth=DEPTH,
    volatility=VOLATILITY,
    rate=RATE,
    days=DAYS,
    bump=st.floats(1.001, 1.2),
)
def test_american_value_moves_the_right_way(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: float, bump: float
) -> None:
    """More time, volatility or strike over one floor is never worth less; a higher spot never more."""
    policy, years = terms(token, moneyness, depth), days / 365
    base = value_policy(policy, SPOT, volatility, rate, years).american
    assert value_policy(policy, SPOT, volatility, rate, years * bump).american >= base - TOLERANCE
    assert value_policy(policy, SPOT, volatility * bump, rate, years).american >= base - TOLERANCE
    dearer = PolicyTerms(token, policy.strike_usd * bump, policy.floor_usd)
    assert value_policy(dearer, SPOT, volatility, rate, years).american >= base - TOLERANCE
    if policy.floor_usd <= SPOT:
        assert value_policy(policy, SPOT * bump, volatility, rate, years).american <= base + TOLERANCE


@given(token=TOKEN, depth=DEPTH, below=st.floats(0.05, 1.0), volatility=VOLATILITY, rate=RATE, days=DAYS)
def test_at_or_below_the_floor_it_is_the_payoff(
    token: Token, depth: float, below: float, volatility: float, rate: float, days: float
) -> None:
    """Once the cap is reached waiting adds nothing: K-F for STX, a fixed number of sats for sBTC."""
    policy = PolicyTerms(token, SPOT, depth * SPOT)
    spot = policy.floor_usd * below
    value = value_policy(policy, spot, volatility, rate, days / 365)
    assert value.american == pytest.approx(payoff(policy, spot), rel=1e-12)


@pytest.mark.parametrize("token", list(Token))
@pytest.mark.parametrize("spot", [20_000.0, 40_000.0, 60_000.0, 80_000.0])
def test_at_expiry_it_is_the_payoff(token: Token, spot: float) -> None:
    """With no time left both values are the payoff."""
    policy = PolicyTerms(token, 65_000.0, 35_000.0)
    value = value_policy(policy, spot, 0.6, 0.04, 0.0)
    assert value.european == value.american == pytest.approx(payoff(policy, spot), rel=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([0.0, 0.01, 0.05, 0.3]),
    lowest=st.floats(0.1, 1.0),
    spread=st.sampled_from([1.0, 1.1, 3.0, 10.0]),
)
@settings(max_examples=15)
def test_a_portfolio_is_worth_what_its_policies_are(seed: int, rate: float, lowest: float, spread: float) -> None:
    """Marking many policies at once, each at its own spot and volatility, gives each the value it has alone.

    American to 5e-6 of spot, European to 1e-12, also for expired ones.
    """
    random = np.random.default_rng(seed)
    count = 40
    spots = SPOT * random.uniform(0.5, 1.5, count)
    strikes = SPOT * random.uniform(0.5, 1.3, count)
    floors = strikes * random.uniform(0.4, 0.98, count)
    years = np.maximum(random.uniform(-0.1, 1.0, count), 0.0)
    volatilities = lowest * spread ** random.uniform(0.0, 1.0, count)
    is_sbtc = random.random(count) < 0.5
    marked = mark_portfolio(Portfolio(is_sbtc, strikes, floors, years), spots, volatilities, rate)
    for row in range(count):
        token = Token.SBTC if is_sbtc[row] else Token.STX
        alone = PolicyTerms(token, float(strikes[row]), float(floors[row]))
        spot, volatility = float(spots[row]), float(volatilities[row])
        value = value_policy(alone, spot, volatility, rate, float(years[row]))
        assert float(marked.american[row]) == pytest.approx(value.american, abs=5e-6 * SPOT)
        assert float(marked.european[row]) == pytest.approx(value.european, abs=1e-12 * SPOT)


def test_a_market_must_fit_its_portfolio() -> None:
    """A column of spots or volatilities of another length, or with a figure outside the model, is refused."""
    portfolio = Portfolio(np.array([True]), np.array([2.0]), np.array([1.0]), np.array([0.1]))
    for wrong in (np.array([0.5, 0.5]), np.array([math.nan]), np.array([0.0])):
        with pytest.raises(PricingError, match="volatility"):
            mark_portfolio(portfolio, 2.0, wrong, 0.0)
        with pytest.raises(PricingError, match="spot"):
            mark_portfolio(portfolio, wrong, 0.5, 0.0)


def test_an_empty_portfolio_has_no_rows() -> None:
    """No policies, no values, no error."""
    nothing = np.empty(0)
    marked = mark_portfolio(Portfolio(nothing.astype(bool), nothing, nothing, nothing), SPOT, 0.5, 0.02)
    assert marked.european.size == marked.american.size == 0


def test_burn_blocks_are_ten_minutes() -> None:
    """A year of 365 days has 52,560 blocks; a negative number is refused."""
    assert years_from_blocks(52_560) == 1.0
    assert years_from_blocks(144) == pytest.approx(1 / 365, rel=1e-15)
    with pytest.raises(PricingError):
        years_from_blocks(-1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_markets_and_terms_outside_the_model_are_refused(bad: float) -> None:
    """Not finite, negative, or a floor not below the strike: PricingError."""
    policy = PolicyTerms(Token.STX, 60_000.0, 40_000.0)
    for market in ((bad, 0.5, 0.0, 0.1), (SPOT, bad, 0.0, 0.1), (SPOT, 0.5, bad, 0.1), (SPOT, 0.5, 0.0, bad)):
        with pytest.raises(PricingError):
            value_policy(policy, *market)
    for strike, floor in ((bad, 1.0), (2.0, bad), (2.0, 2.0), (2.0, 0.0)):
        with pytest.raises(PricingError):
            PolicyTerms(Token.STX, strike, floor)
        with pytest.raises(PricingError):
            Portfolio(np.array([True]), np.array([strike]), np.array([floor]), np.array([0.1]))
    with pytest.raises(PricingError):
        Portfolio(np.array([True]), np.array([2.0]), np.array([1.0]), np.array([bad]))
    with pytest.raises(PricingError):
        Portfolio(np.array([True, False]), np.array([2.0]), np.array([1.0]), np.array([0.1]))

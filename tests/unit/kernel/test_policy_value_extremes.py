"""The capped put where markets hardly go: QuantLib's figures over all that the model takes."""

from __future__ import annotations

import math

import pytest
import QuantLib as ql
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token
from tests.bench.quantlib import Vanilla, reference

SPOT = 65_000.0
TODAY = ql.Date(1, 1, 2020)
TOKEN = st.sampled_from(list(Token))
# Most draws lie far from where a market is: the exponent is what is uniform.
VOLATILITY = st.floats(math.log(0.005), math.log(8.0)).map(math.exp)
MONEYNESS = st.floats(math.log(0.01), math.log(30.0)).map(math.exp)
DAYS = st.floats(0.0, math.log(3_650)).map(lambda power: round(math.exp(power)))
RATE = st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0])
# Floors anywhere below the strike, close to it, next to nothing.
DEPTH = st.one_of(
    st.floats(0.01, 0.99),
    st.floats(math.log(1e-6), math.log(0.1)).map(lambda power: 1.0 - math.exp(power)),
    st.floats(math.log(1e-6), -1e-6).map(math.exp),
)


def process(volatility: float, rate: float) -> ql.BlackScholesMertonProcess:
    """A flat market in QuantLib."""
    ql.Settings.instance().evaluationDate = TODAY
    count = ql.Actual365Fixed()
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, 0.0, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(TODAY, ql.NullCalendar(), volatility, count)),
    )


def european_put(strike: float, days: int, market: ql.BlackScholesMertonProcess) -> float:
    """QuantLib's European put."""
    option = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, strike), ql.EuropeanExercise(TODAY + days))
    option.setPricingEngine(ql.AnalyticEuropeanEngine(market))
    return float(option.NPV())


@given(token=TOKEN, moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, rate=RATE, days=DAYS)
@settings(max_examples=300)
def test_european_value_is_quantlibs_everywhere(
    token: Token, moneyness: float, depth: float, volatility: float, rate: float, days: int
) -> None:
    """The European value is two of QuantLib's puts to 1e-9 of spot, at any moneyness, floor, volatility and time."""
    policy = PolicyTerms(token, moneyness * SPOT, moneyness * depth * SPOT)
    market = process(volatility, rate)
    weight = 1.0 / depth if token is Token.SBTC else 1.0
    theirs = european_put(policy.strike_usd, days, market) - weight * european_put(policy.floor_usd, days, market)
    ours = value_policy(policy, SPOT, volatility, rate, days / 365)
    assert ours.european == pytest.approx(theirs, abs=1e-9 * SPOT)
    assert 0.0 <= ours.european <= ours.american


@given(moneyness=MONEYNESS, depth=DEPTH, volatility=VOLATILITY, days=DAYS)
@settings(max_examples=300)
def test_without_interest_it_is_quantlibs_barrier_option_everywhere(
    moneyness: float, depth: float, volatility: float, days: int
) -> None:
    """At rate 0 the American value is QuantLib's knock-out put with the cap as rebate, to 1e-9 of spot."""
    policy = PolicyTerms(Token.STX, moneyness * SPOT, moneyness * depth * SPOT)
    assume(policy.floor_usd < SPOT)
    option = ql.BarrierOption(
        ql.Barrier.DownOut,
        policy.floor_usd,
        policy.strike_usd - policy.floor_usd,
        ql.PlainVanillaPayoff(ql.Option.Put, policy.strike_usd),
        ql.EuropeanExercise(TODAY + days),
    )
    option.setPricingEngine(ql.AnalyticBarrierEngine(process(volatility, 0.0)))
    try:
        theirs = float(option.NPV())
    except RuntimeError:
        assume(False)  # QuantLib itself gives up on a deviation of next to nothing.
    assert value_policy(policy, SPOT, volatility, 0.0, days / 365).american == pytest.approx(theirs, abs=1e-9 * SPOT)


@given(
    moneyness=st.floats(0.3, 3.3),
    volatility=st.floats(math.log(0.02), math.log(4.0)).map(math.exp),
    rate=st.sampled_from([1e-4, 0.01, 0.05, 0.1, 0.3, 1.0]),
    days=DAYS,
)
@settings(max_examples=250)
def test_early_exercise_is_quantlibs_at_any_rate(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """With the floor out of reach it is QuantLib's American put: to 2e-6 of spot, to 2e-5 where rate x years is over 1.

    Volatilities from 2% to 400%, rates up to 100%, a day to ten years: nothing diverges.
    """
    strike = moneyness * SPOT
    try:
        theirs = reference(Vanilla(SPOT, strike, volatility, rate, days))
    except RuntimeError:
        assume(False)  # As above.
    ours = value_policy(PolicyTerms(Token.STX, strike, 1e-9 * strike), SPOT, volatility, rate, days / 365)
    tolerance = 2e-6 if rate * days / 365 <= 1.0 else 2e-5
    assert ours.american == pytest.approx(theirs, abs=tolerance * SPOT)

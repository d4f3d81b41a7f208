"""European puts: against QuantLib, against differences, and round trips of implied volatility."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.pricing import PricingError, cash_or_nothing_put, european_put, implied_volatility
from kernel.pricing.black_scholes import put_value
from kernel.pricing.normal import normal_cdf, normal_cdf_and_density, normal_cdf_array

SPOT = 65_000.0
MONEYNESS = st.floats(0.5, 1.3)
VOLATILITY = st.floats(0.2, 1.5)
DAYS = st.integers(1, 365)
RATE = st.floats(0.0, 0.06)
PI = Decimal("3.14159265358979323846264338328")


def quantlib_put(strike: float, volatility: float, rate: float, days: int) -> ql.VanillaOption:
    """The European put in QuantLib, on a flat market."""
    today = ql.Date(1, 1, 2025)
    ql.Settings.instance().evaluationDate = today
    count, calendar = ql.Actual365Fixed(), ql.NullCalendar()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, calendar, volatility, count)),
    )
    option = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, strike), ql.EuropeanExercise(today + days))
    option.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return option


@pytest.mark.parametrize(
    ("moneyness", "volatility", "rate", "days"),
    [
        (0.5, 1.5, 0.04, 90),
        (0.8, 0.4, 0.0, 14),
        (1.0, 0.6, 0.05, 30),
        (1.3, 0.2, 0.02, 365),
        (0.95, 0.9, 0.01, 1),
    ],
)
def test_value_and_greeks_agree_with_quantlib(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """Every figure of the European put is QuantLib's."""
    peer = quantlib_put(moneyness * SPOT, volatility, rate, days)
    ours = european_put(SPOT, moneyness * SPOT, volatility, rate, days / 365)
    assert ours.value == pytest.approx(peer.NPV(), abs=1e-9 * SPOT)
    for mine, theirs in (
        (ours.delta, peer.delta()),
        (ours.gamma, peer.gamma()),
        (ours.vega, peer.vega()),
        (ours.theta, peer.theta()),
        (ours.rho, peer.rho()),
    ):
        assert mine == pytest.approx(theirs, rel=1e-7, abs=1e-12)


@given(moneyness=MONEYNESS, volatility=VOLATILITY, rate=RATE, days=DAYS)
def test_greeks_are_the_derivatives_of_the_value(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """Each Greek equals a central difference of the value, in its documented unit."""
    strike, years = moneyness * SPOT, days / 365
    put = european_put(SPOT, strike, volatility, rate, years)

    def slope(size: float, low: float, high: float) -> float:
        return (high - low) / (2 * size)

    bump = 1e-4 * SPOT
    up = european_put(SPOT + bump, strike, volatility, rate, years)
    down = european_put(SPOT - bump, strike, volatility, rate, years)
    assert put.delta == pytest.approx(slope(bump, down.value, up.value), abs=1e-4)
    assert put.gamma == pytest.approx(slope(bump, down.delta, up.delta), rel=1e-2, abs=1e-9)
    small = 1e-5
    vega = slope(
        small,
        put_value(SPOT, strike, volatility - small, rate, years),
        put_value(SPOT, strike, volatility + small, rate, years),
    )
    rho = slope(
        small,
        put_value(SPOT, strike, volatility, rate - small, years),
        put_value(SPOT, strike, volatility, rate + small, years),
    )
    shift = 1e-4 * years
    theta = slope(
        shift,
        put_value(SPOT, strike, volatility, rate, years + shift),
        put_value(SPOT, strike, volatility, rate, years - shift),
    )
    assert put.vega == pytest.approx(vega, rel=1e-4, abs=1e-2)
    assert put.rho == pytest.approx(rho, rel=1e-4, abs=1e-2)
    assert put.theta == pytest.approx(theta, rel=1e-4, abs=1e-1)


@given(moneyness=MONEYNESS, volatility=VOLATILITY, rate=RATE, days=DAYS)
def test_put_stays_inside_its_bounds(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """Discounted intrinsic <= put <= discounted strike, and it equals strike claims less a share of spot."""
    strike, years = moneyness * SPOT, days / 365
    put = european_put(SPOT, strike, volatility, rate, years)
    present = strike * math.exp(-rate * years)
    assert max(present - SPOT, 0.0) - 1e-9 <= put.value <= present
    digital = cash_or_nothing_put(SPOT, strike, strike, volatility, rate, years)
    assert put.value == pytest.approx(digital.value + put.delta * SPOT, abs=1e-9 * SPOT)


@given(moneyness=MONEYNESS, volatility=VOLATILITY, rate=RATE, days=DAYS)
def test_implied_volatility_returns_the_volatility(moneyness: float, volatility: float, rate: float, days: int) -> None:
    """Where the value depends on volatility, the value gives the volatility back."""
    strike, years = moneyness * SPOT, days / 365
    put = european_put(SPOT, strike, volatility, rate, years)
    assume(put.vega > 1e-3 * SPOT)
    assert implied_volatility(put.value, SPOT, strike, rate, years) == pytest.approx(volatility, abs=1e-9)


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, 65_000.0])
def test_a_value_without_volatility_is_refused(value: float) -> None:
    """Values below intrinsic or above the strike have no implied volatility."""
    with pytest.raises(PricingError):
        implied_volatility(value, SPOT, 60_000.0, 0.0, 0.1)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_input_outside_the_model_is_refused(bad: float) -> None:
    """Spot, strike, volatility and time must be finite and positive, the rate finite."""
    good = [SPOT, SPOT, 0.5, 0.02, 0.1]
    for position in (0, 1, 2, 4):
        arguments = [bad if index == position else value for index, value in enumerate(good)]
        with pytest.raises(PricingError):
            european_put(*arguments)
    with pytest.raises(PricingError):
        european_put(SPOT, SPOT, 0.5, math.nan, 0.1)
    with pytest.raises(PricingError):
        cash_or_nothing_put(SPOT, SPOT, bad, 0.5, 0.02, 0.1)


def test_normal_of_arrays_is_the_normal_of_numbers() -> None:
    """The vectorised distribution agrees with math.erfc to 3e-16, in both tails and at infinity."""
    points = np.concatenate((np.linspace(-40.0, 40.0, 20_001), [-np.inf, np.inf, 0.0]))
    exact = np.array([normal_cdf(point) for point in points.tolist()])
    assert float(np.abs(normal_cdf_array(points) - exact).max()) < 3e-16


def test_the_lower_tail_is_right_to_the_last_digits() -> None:
    """Down to where floats end, the distribution and the density have a relative error below 2e-15 and 5e-16."""
    points = np.linspace(1.0, 37.5, 366)
    tails, densities = normal_cdf_and_density(-points)
    for point, tail, density in zip(points.tolist(), tails.tolist(), densities.tolist(), strict=True):
        exact_tail, exact_density = upper_tail(point)
        assert abs(Decimal(tail) / exact_tail - 1) < Decimal("2e-15")
        assert abs(Decimal(density) / exact_density - 1) < Decimal("5e-16")
        assert abs(Decimal(normal_cdf(-point)) / exact_tail - 1) < Decimal("2e-16") * (1 + Decimal(point) ** 2)


def test_near_the_middle_the_tail_is_that_of_erfc() -> None:
    """Between -1 and 0, where erfc loses nothing, the relative difference is below 1e-15."""
    points = np.linspace(-1.0, 0.0, 2_001)
    exact = np.array([normal_cdf(point) for point in points.tolist()])
    assert float(np.abs(normal_cdf_array(points) / exact - 1.0).max()) < 1e-15


def upper_tail(point: float) -> tuple[Decimal, Decimal]:
    """P(Z > point) and the density, for points from 1, in 28 digits: by Laplace's continued fraction."""
    x = Decimal(point)
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    fraction = x
    for step in range(800, 0, -1):
        fraction = x + step / fraction
    return density / fraction, density

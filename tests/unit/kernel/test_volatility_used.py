"""The volatility of a quote: between what the market is and what it usually is, floored by tier, lifted by the skew."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.pricing import PastVolatility, PricingError, VolatilityRules, time_deviation, volatility_used
from kernel.pricing.volatility import blend, expected_volatility
from kernel.units import Tier

VOLATILITY = st.floats(0.05, 3.0)
PAST = st.builds(PastVolatility, VOLATILITY, VOLATILITY, VOLATILITY, VOLATILITY)
YEARS = st.floats(1 / 52_560, 2.0)
RULES = VolatilityRules()
SPOT = 50_000.0


@given(PAST, YEARS)
def test_expected_volatility_lies_between_now_and_usual(past: PastVolatility, years: float) -> None:
    """Whatever the horizon, the expectation lies between EWMA and the blend, nearer to EWMA the shorter it is."""
    usual = blend(past, RULES)
    low, high = min(past.ewma, usual), max(past.ewma, usual)
    near, far = expected_volatility(past, years, RULES), expected_volatility(past, 2.0 * years, RULES)
    assert low * (1 - 1e-12) <= near <= high * (1 + 1e-12)
    assert abs(near - past.ewma) <= abs(far - past.ewma) + 1e-12


@given(PAST)
@example(PastVolatility(0.05, 3.0, 3.0, 2.0))
def test_expected_volatility_has_the_right_ends(past: PastVolatility) -> None:
    """In a moment it is EWMA; after a half-life the variance has come half the way; in the end it is the blend.

    An average over d half-lives / ln 2 has come d / 2 of the way at first, and misses 1 / d of it in the end.
    """
    usual = blend(past, RULES)
    way = abs(usual**2 - past.ewma**2)
    decays = [math.log(2.0) / RULES.half_life_days * 365.0 * years for years in (1e-9, 1e12)]
    at_once, at_last = expected_volatility(past, 1e-9, RULES), expected_volatility(past, 1e12, RULES)
    assert abs(at_once**2 - past.ewma**2) <= way * decays[0] / 2 + 1e-14
    assert abs(at_last**2 - usual**2) <= way / decays[1] + 1e-14
    step = 1e-6
    years = RULES.half_life_days / 365.0
    total = [t * expected_volatility(past, t, RULES) ** 2 for t in (years - step, years + step)]
    assert (total[1] - total[0]) / (2 * step) == pytest.approx((past.ewma**2 + usual**2) / 2, rel=1e-4)


@given(PAST, st.sampled_from(Tier), st.floats(0.3, 1.3), YEARS)
def test_a_quote_is_never_below_the_floor(past: PastVolatility, tier: Tier, moneyness: float, years: float) -> None:
    """The floor of the tier holds for every strike, and lower strikes never cost less volatility."""
    used = volatility_used(past, tier, SPOT, moneyness * SPOT, years, RULES)
    lower = volatility_used(past, tier, SPOT, 0.9 * moneyness * SPOT, years, RULES)
    assert used.value >= RULES.floor(tier)
    assert lower.value >= used.value
    if moneyness >= 1.0:
        assert used.value == max(expected_volatility(past, years, RULES), RULES.floor(tier))


@pytest.mark.parametrize(("deviations", "lifted"), [(0.5, 0.5), (1.0, 1.0), (2.9, 2.9), (3.0, 3.0), (5.0, 3.0)])
def test_the_skew_is_in_proportion_to_standard_deviations(deviations: float, lifted: float) -> None:
    """A strike n standard deviations below spot costs 1 + n x skew times the volatility at the money, up to three."""
    past = PastVolatility(0.8, 0.8, 0.8, 0.8)
    strike = SPOT * math.exp(-deviations * 0.8 * math.sqrt(0.1))
    at_the_money = volatility_used(past, Tier.AGGRESSIVE, SPOT, SPOT, 0.1, RULES).value
    below = volatility_used(past, Tier.AGGRESSIVE, SPOT, strike, 0.1, RULES).value
    assert below == pytest.approx(at_the_money * (1 + lifted * RULES.skew), rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight_30d": 0.5},
        {"weight_90d": -0.1, "weight_30d": 0.9},
        {"half_life_days": 0.5},
        {"half_life_days": math.nan},
        {"skew": 1.1},
        {"floor_conservative": 0.0},
    ],
)
def test_parameters_have_bounds(wrong: dict[str, float]) -> None:
    """A parameter outside its bounds, or weights that do not sum to one, are refused by name."""
    with pytest.raises(PricingError, match=next(iter(wrong)).split("_")[0]):
        VolatilityRules(**wrong)


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_an_estimate_that_is_none_is_refused(value: float) -> None:
    """Estimates are finite and not negative, and not all zero."""
    with pytest.raises(PricingError, match="parkinson_30d"):
        PastVolatility(0.5, 0.5, 0.5, value)
    with pytest.raises(PricingError, match="every window"):
        PastVolatility(0.0, 0.0, 0.0, 0.0)


@given(st.sets(st.integers(0, 3), min_size=1, max_size=3), VOLATILITY, st.sampled_from(Tier), YEARS)
def test_windows_in_which_nothing_moved_count_as_such(still: set[int], value: float, tier: Tier, years: float) -> None:
    """Estimates of zero lower what is expected, which stays positive, and the floor holds."""
    past = PastVolatility(*(0.0 if window in still else value for window in range(4)))
    expected = expected_volatility(past, years, RULES)
    assert 0.0 < expected <= value * (1 + 1e-12)
    assert volatility_used(past, tier, SPOT, SPOT, years, RULES).value == max(expected, RULES.floor(tier))


def test_the_time_of_more_blocks_is_surer() -> None:
    """The deviation falls with the number of blocks down to the drift of the hash rate; it needs a block at least."""
    deviations = [time_deviation(blocks) for blocks in (1, 18, 144, 1008, 12_960)]
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[0] > 1.0 > deviations[1] > 0.2
    assert deviations[-1] == pytest.approx(0.05, rel=0.02)
    with pytest.raises(PricingError):
        time_deviation(0)

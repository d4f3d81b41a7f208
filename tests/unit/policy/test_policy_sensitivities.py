"""What moves the value of a policy, in units that people use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import pricing, units
from kernel.units import Token
from services.policy.domain.sensitivities import sensitivities

SPOT = 60_000.0
AMOUNT = 50_000_000
RECORDED = {"btc_price_usd_e8": 60_000 * units.USD_E8, "rate": 0.0}


@given(
    token=st.sampled_from(list(Token)),
    strike=st.integers(45_000, 65_000),
    depth=st.floats(0.5, 0.9),
    volatility=st.floats(0.4, 1.5),
    blocks=st.integers(1_008, 20_000),
)
@settings(max_examples=40)
def test_each_is_the_change_that_it_names(
    token: Token, strike: int, depth: float, volatility: float, blocks: int
) -> None:
    """A small step of spot, volatility or time changes the value of half a bitcoin's policy by what is said."""
    floor = int(min(strike * depth, 0.97 * SPOT))
    breakdown = RECORDED | {
        "strike_price_usd_e8": strike * units.USD_E8,
        "floor_price_usd_e8": floor * units.USD_E8,
        "volatility": volatility,
        "duration_blocks": blocks,
    }

    def value(spot: float = SPOT, up: float = 0.0, fewer: float = 0.0) -> float:
        years = (blocks - fewer) / pricing.BURN_BLOCKS_PER_YEAR
        terms = pricing.PolicyTerms(token, strike, floor)
        return 0.5 * pricing.value_policy(terms, spot, volatility + up, 0.0, years).american

    found = sensitivities(token, AMOUNT, breakdown)
    step = SPOT * 1e-4
    up, here, down = value(SPOT + step), value(), value(SPOT - step)
    assert found.spot_delta_sats == pytest.approx((up - down) / 2 / step * units.SATS_PER_BTC, abs=AMOUNT * 1e-4)
    bent = (up - 2 * here + down) / step**2 * 0.01 * SPOT * units.SATS_PER_BTC
    assert found.spot_delta_sats_per_percent == pytest.approx(bent, abs=AMOUNT * 1e-3)
    vega = (value(up=1e-4) - value(up=-1e-4)) / 2e-4 * 0.01
    assert found.volatility_delta_usd_e8 == pytest.approx(vega * units.USD_E8, rel=1e-3, abs=units.USD_E8 // 100)
    decay = (value(fewer=1) - value(fewer=-1)) / 2 * 144
    assert found.day_delta_usd_e8 == pytest.approx(decay * units.USD_E8, rel=1e-2, abs=units.USD_E8 // 100)

"""Money rules on random inputs: the contract's formulas are the kernel's."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.units import Token, max_payout, payout
from tests.contracts.chain import (
    REGISTRY,
    SBTC,
    STX,
    USD,
    Chain,
)

SAME_CHAIN = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
PRICES = st.integers(1_000 * USD, 1_000_000 * USD)
STX_PRICES = st.integers(USD // 100, 1_000 * USD)
TOKENS = st.sampled_from([STX, SBTC])


@settings(max_examples=300, deadline=None, suppress_health_check=SAME_CHAIN)
@given(
    token=TOKENS,
    amount=st.integers(1, 1_000 * USD),
    strike=PRICES,
    floor_bps=st.integers(1_000, 9_900),
    stx=STX_PRICES,
    haircut=st.integers(0, 9_000),
    btc_now=st.integers(1, 2_000_000 * USD),
    stx_now=STX_PRICES,
)
def test_the_contracts_formulas_are_the_kernels(
    refusing: Chain, token: int, amount: int, strike: int, floor_bps: int, stx: int, haircut: int, btc_now: int,
    stx_now: int,
) -> None:  # fmt: skip
    """max-payout and payout agree with kernel.units to the base unit, and no payout exceeds its collateral."""
    floor = strike * floor_bps // 10_000
    most = max_payout(Token(token), amount, strike, floor, stx, haircut)
    assert refusing.read(REGISTRY, "max-payout-of", token, amount, strike, floor, stx, haircut) == most
    paid = payout(Token(token), amount, strike, floor, btc_now, stx_now, most)
    assert refusing.read(REGISTRY, "payout-of", token, amount, strike, floor, most, btc_now, stx_now) == paid
    assert 0 <= paid <= most

"""Random policies, prices and tiers that the chain could hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from kernel.units import Token, max_payout
from services.pool.domain.decision import ExpiryPrices
from services.pool.domain.shares import OpenPolicy, Prices

E8 = 10**8
CREATED = 1_000
HAIRCUT_BPS = 3_000
tokens = st.sampled_from(Token)
prices = st.builds(Prices, btc_e8=st.integers(1_000 * E8, 300_000 * E8), stx_e8=st.integers(E8 // 20, 20 * E8))
# None where a person must decide.
averages = st.one_of(st.none(), prices)
decided_prices = prices.map(lambda signed: {"decided_btc_e8": signed.btc_e8, "decided_stx_e8": signed.stx_e8})


@st.composite
def open_policies(draw: st.DrawFn, token: Token) -> OpenPolicy:
    """A policy settled in `token`, created at CREATED, its collateral as the contract computes it; maybe decided."""
    strike = draw(st.integers(10_000 * E8, 200_000 * E8))
    floor = strike * draw(st.integers(4_000, 9_800)) // 10_000
    amount = draw(st.integers(10_000, 50 * E8))
    collateral = max_payout(token, amount, strike, floor, draw(st.integers(E8 // 10, 10 * E8)), HAIRCUT_BPS)
    return OpenPolicy(
        token=token,
        amount_sats=amount,
        strike_e8=strike,
        floor_e8=floor,
        max_payout=collateral,
        premium=draw(st.integers(0, collateral)),
        created_burn_height=CREATED,
        expiration_burn_height=CREATED + draw(st.integers(1, 5_000)),
        auto_settle=draw(st.booleans()),
        **draw(st.one_of(st.just({}), decided_prices)),
    )


@st.composite
def expired(draw: st.DrawFn, policies: Sequence[OpenPolicy], at: Prices) -> Prices:
    """Prices at which the heights of some of the policies are reached, in any order."""
    heights = draw(st.permutations(sorted({policy.expiration_burn_height for policy in policies})))
    reached = {height: draw(averages) for height in heights[: draw(st.integers(0, len(heights)))]}
    expiries = (
        ExpiryPrices(height, average.btc_e8 if average else 0, average.stx_e8 if average else 0)
        for height, average in reached.items()
    )
    return replace(at, expiries=tuple(expiries))

"""Model values of open policies, in integers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.pricing import PastVolatility, PolicyTerms, value_policy, years_from_blocks
from kernel.units import USD_E8, Token
from services.pool.domain.mark import model_values
from services.pool.domain.shares import intrinsic
from tests.unit.pool.pool_strategies import CREATED, open_policies, prices, tokens

_PAST = PastVolatility(0.6, 0.6, 0.6, 0.6)
# What one common exercise boundary may cost, of spot; see `mark_portfolio`.
_OFF = 5e-6


@settings(max_examples=25, deadline=None)
@given(data=st.data(), token=tokens, height=st.integers(CREATED, CREATED + 5_500))
def test_each_policy_is_marked_as_it_would_be_alone(data: st.DataObject, token: Token, height: int) -> None:
    """In one market of constant volatility, whatever else is marked with it; after expiration at its payout."""
    at = data.draw(prices)
    policies = data.draw(st.lists(open_policies(token), min_size=1, max_size=6))
    marked = model_values(policies, at, _PAST, height)
    spot = at.btc_e8 / USD_E8
    for policy, value in zip(policies, marked, strict=True):
        terms = PolicyTerms(token, policy.strike_e8 / USD_E8, policy.floor_e8 / USD_E8)
        years = years_from_blocks(max(policy.expiration_burn_height - height, 0))
        alone = value_policy(terms, spot, 0.6, 0.0, years).american
        units = policy.amount_sats / (spot if token is Token.SBTC else 100 * at.stx_e8 / USD_E8)
        assert abs(value - alone * units) <= (_OFF * spot + 1e-8) * units + 1
        if years == 0:
            assert min(value, policy.max_payout) <= intrinsic(policy, at) + units * 1e-7 + 1

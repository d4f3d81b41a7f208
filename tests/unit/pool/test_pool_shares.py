"""Share prices: nobody gains from those who stay, whenever they join or leave."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.units import Token
from services.pool.domain import shares
from services.pool.domain.shares import DepositWait, OpenPolicy, Prices
from tests.unit.pool.pool_strategies import CREATED, open_policies, prices, tokens

amounts = st.integers(1, 10**13)
heights = st.integers(CREATED, CREATED + 6_000)


@dataclass(frozen=True)
class Tier:
    """A tier with open policies, at one moment."""

    total: int
    count: int
    policies: tuple[OpenPolicy, ...]
    values: tuple[int, ...]
    prices: Prices
    height: int

    @property
    def joining(self) -> int:
        """Net assets for those who join."""
        return shares.net_assets(self.total, shares.claims_when_joining(self.policies, self.prices, self.values))

    @property
    def leaving(self) -> int:
        """Net assets for those who leave."""
        claims = shares.claims_when_leaving(self.policies, self.prices, self.values, self.height)
        return shares.net_assets(self.total, claims)


@st.composite
def tiers(draw: st.DrawFn) -> Tier:
    """A tier whose capital covers its collateral. Model values are whatever a model might say."""
    token = draw(tokens)
    policies = tuple(draw(st.lists(open_policies(token), max_size=4)))
    locked = sum(policy.max_payout for policy in policies)
    total = locked + draw(st.integers(0, 10**13))
    count = draw(st.integers(0, max(total, 1)))
    values = tuple(draw(st.integers(0, 2 * policy.max_payout)) for policy in policies)
    return Tier(total, count, policies, values, draw(prices), draw(heights))


@given(tier=tiers())
def test_what_is_not_earned_or_visibly_lost_is_never_paid_out(tier: Tier) -> None:
    """Who leaves is priced at or below who joins; both at or below capital less visible losses."""
    now = [shares.intrinsic(policy, tier.prices) for policy in tier.policies]
    kept = [
        min(paid + shares.unearned_premium(policy, tier.height), policy.max_payout)
        for paid, policy in zip(now, tier.policies, strict=True)
    ]
    assert tier.leaving <= tier.joining <= max(tier.total - sum(now), 0)
    assert tier.leaving <= max(tier.total - sum(kept), 0)
    assert tier.total - tier.leaving <= sum(policy.max_payout for policy in tier.policies)


@given(tier=tiers(), amount=amounts)
def test_joining_and_leaving_at_once_never_gains(tier: Tier, amount: int) -> None:
    """In and out at the same prices gives back at most what came in."""
    assume(tier.joining * 1_000_000 >= tier.count)
    issued = shares.shares_for(amount, tier.count, tier.joining)
    back = shares.amount_for(issued, tier.count + issued, tier.leaving + amount)
    assert back <= amount


@given(tier=tiers(), amount=amounts)
def test_who_joins_takes_nothing_from_those_who_stay(tier: Tier, amount: int) -> None:
    """After a deposit, the shares that were there are worth at least as much, by either measure."""
    assume(tier.joining * 1_000_000 >= tier.count > 0)
    issued = shares.shares_for(amount, tier.count, tier.joining)
    after = tier.count + issued
    for before_assets in (tier.leaving, tier.joining):
        before = shares.amount_for(tier.count, tier.count, before_assets)
        assert shares.amount_for(tier.count, after, before_assets + amount) >= before


@given(tier=tiers(), data=st.data())
def test_who_leaves_takes_nothing_from_those_who_stay(tier: Tier, data: st.DataObject) -> None:
    """After a withdrawal, the shares that are left are worth at least as much, by either measure."""
    assume(tier.count > 1)
    burned = data.draw(st.integers(1, tier.count - 1))
    paid = shares.amount_for(burned, tier.count, tier.leaving)
    left = tier.count - burned
    for assets in (tier.leaving, tier.joining):
        assert shares.amount_for(left, left, assets - paid) >= shares.amount_for(left, tier.count, assets)


@given(tier=tiers(), amount=amounts)
def test_a_late_joiner_earns_what_the_model_says_for_its_risk_and_no_more(tier: Tier, amount: int) -> None:
    """When all policies end worthless, who came late has at most its part of the claims that it was priced with."""
    assume(0 < tier.joining * 1_000_000 >= tier.count)
    issued = shares.shares_for(amount, tier.count, tier.joining)
    after = tier.count + issued
    gain = shares.amount_for(issued, after, tier.total + amount) - amount
    assert gain * (after + shares.VIRTUAL_SHARES) <= (tier.total - tier.joining) * issued


@given(held=st.lists(st.integers(1, 10**15), min_size=1, max_size=6), capital=st.integers(0, 10**6), amount=amounts)
def test_who_joins_a_tier_that_was_lost_gives_nothing_to_those_who_lost_it(
    held: list[int], capital: int, amount: int
) -> None:
    """Shares are made fewer without anybody's loss; the next deposit loses less than one share and one base unit."""
    total = sum(held)
    assume(shares.is_worthless(total, capital))
    left = [shares.consolidated(count, total, capital) for count in held]
    for before, after in zip(held, left, strict=True):
        paid = shares.amount_for(before, total, capital)
        assert shares.amount_for(after, sum(left), capital) >= paid >= after
    assume(shares.why_waits(amount, sum(left), capital) is DepositWait.NONE)
    issued = shares.shares_for(amount, sum(left), capital)
    back = shares.amount_for(issued, sum(left) + issued, capital + amount)
    a_share = Fraction(capital + shares.VIRTUAL_SHARES, sum(left) + shares.VIRTUAL_SHARES)
    assert a_share >= 1 and amount - a_share - 1 < back <= amount


@given(count=st.integers(0, 2**62), assets=st.integers(0, 2 * 10**15), amount=st.integers(1, 2 * 10**15))
def test_a_deposit_waits_or_gets_shares_that_can_be_counted(count: int, assets: int, amount: int) -> None:
    """However many shares there are: whoever does not wait gets at least one, and int64 holds them all."""
    wait = shares.why_waits(amount, count, assets)
    if wait is DepositWait.TIER_WORTHLESS:
        assert (count + shares.VIRTUAL_SHARES) > 1_000 * (assets + shares.VIRTUAL_SHARES)
        return
    issued = shares.shares_for(amount, count, assets)
    assert (issued == 0) is (wait is DepositWait.BELOW_A_SHARE)
    assert count + issued + shares.VIRTUAL_SHARES <= 1_000 * (assets + amount + shares.VIRTUAL_SHARES) < 2**63


@given(data=st.data(), token=tokens)
def test_the_premium_is_earned_evenly(data: st.DataObject, token: Token) -> None:
    """All of it is unearned at creation, none at expiration, and never more than the block before."""
    policy = data.draw(open_policies(token))
    height = data.draw(heights)
    now, later = (shares.unearned_premium(policy, at) for at in (height, height + 1))
    assert shares.unearned_premium(policy, CREATED) == policy.premium
    assert shares.unearned_premium(policy, policy.expiration_burn_height) == 0
    assert 0 <= later <= now <= policy.premium


def test_the_first_share_costs_one_base_unit() -> None:
    """A new tier starts at one share per base unit, shown as one million."""
    assert shares.shares_for(123, 0, 0) == 123
    assert shares.share_price_e6(0, 0) == 1_000_000


@pytest.mark.parametrize("gift", [10**6, 10**9])
def test_one_share_cannot_be_made_dear_enough_to_eat_a_deposit(gift: int) -> None:
    """With one share left and a large gain behind it, the next deposit loses at most a thousandth of the gain."""
    deposit = 10**9
    issued = shares.shares_for(deposit, 1, 1 + gift)
    back = shares.amount_for(issued, 1 + issued, 1 + gift + deposit)
    attacker = shares.amount_for(1, 1 + issued, 1 + gift + deposit)
    assert deposit - back <= gift // 1_000 + 1
    assert attacker < gift // 500

"""Random histories of a tier against an independent model of it: nobody gains from those who stay.

The model is a fund without rounding, spread or share count: whoever joins owns what they paid in, whoever leaves takes
their part at its full worth, and what policies bring or cost moves everybody by the same factor. A payout that is
decided costs in that moment, whatever the market does until it is paid. The fixed virtual shares are one more owner.
Whoever stays throughout must be worth at least as much by the pool's own rules.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel.units import Token, payout
from services.pool.domain import shares
from services.pool.domain.shares import OpenPolicy, Prices

_E8 = 10**8
_STAYS, _VIRTUAL = "stays", "virtual"
_OTHERS = st.sampled_from(["first", "second"])
_PARTS = st.integers(1, 10)
_AMOUNTS = st.one_of(st.integers(1, 10), st.integers(1, 10**6), st.integers(1, 10**12))


class TierHistory(RuleBasedStateMachine):
    """A tier of sBTC. `count` is what each holds by the pool's rules, `worth` what the model says that they own."""

    def __init__(self) -> None:
        super().__init__()
        self.capital = 0
        self.height = 1_000
        self.prices = Prices(100_000 * _E8, 0)
        self.policies: list[OpenPolicy] = []
        self.values: list[int] = []
        self.decided: list[int | None] = []
        self.count: dict[str, int] = {}
        self.worth = {_VIRTUAL: Fraction(shares.VIRTUAL_SHARES)}
        self.vouchers: list[tuple[str, int]] = []

    @property
    def joining(self) -> int:
        """Net assets for those who join."""
        return shares.net_assets(self.capital, shares.claims_when_joining(self.policies, self.prices, self.values))

    @property
    def leaving(self) -> int:
        """Net assets for those who leave."""
        claims = shares.claims_when_leaving(self.policies, self.prices, self.values, self.height)
        return shares.net_assets(self.capital, claims)

    @property
    def fair(self) -> int:
        """Net assets as the model counts them: policies at what they are worth, or at what is decided."""
        claims = 0
        for policy, value, decided in zip(self.policies, self.values, self.decided, strict=True):
            claims += shares.claim_when_joining(policy, self.prices, value) if decided is None else decided
        return max(self.capital - claims, 0)

    def moves_everybody(self, before: int) -> None:
        """The model's answer to whatever changed net assets from `before`, but no holder's deposit or withdrawal."""
        factor = Fraction(self.fair + shares.VIRTUAL_SHARES, before + shares.VIRTUAL_SHARES)
        self.worth = {who: worth * factor for who, worth in self.worth.items()}

    def join(self, who: str, amount: int) -> None:
        """A deposit is priced."""
        total = sum(self.count.values())
        a_share = Fraction(self.joining + shares.VIRTUAL_SHARES, total + shares.VIRTUAL_SHARES)
        issued = shares.shares_for(amount, total, self.joining)
        self.capital += amount
        self.count[who] = self.count.get(who, 0) + issued
        self.worth[who] = self.worth.get(who, Fraction(0)) + amount
        assert 0 <= amount - issued * a_share < a_share

    @initialize(first=st.booleans(), dust=_AMOUNTS, amount=_AMOUNTS)
    def start(self, first: bool, dust: int, amount: int) -> None:
        """Who stays joins, perhaps after somebody else has made the first deposit."""
        if first:
            self.join("first", dust)
        self.join(_STAYS, amount)
        self.worth[_STAYS] = self.part_of_stayer * (self.fair + shares.VIRTUAL_SHARES)

    @rule(who=_OTHERS, amount=_AMOUNTS)
    def somebody_joins(self, who: str, amount: int) -> None:
        """Before, between or after whatever happens to policies."""
        self.join(who, amount)

    @rule(who=_OTHERS, tenths=_PARTS)
    def somebody_leaves(self, who: str, tenths: int) -> None:
        """With a part of their shares; the voucher may be used or held."""
        held = self.count.get(who, 0)
        burned = held * tenths // 10
        paid = shares.amount_for(burned, sum(self.count.values()), self.leaving)
        if not burned or paid > self.capital - sum(policy.max_payout for policy in self.policies):
            return
        self.capital -= paid
        self.count[who] = held - burned
        self.worth[who] -= self.worth[who] * Fraction(burned, held)
        self.vouchers.append((who, paid))

    @precondition(lambda self: self.vouchers)
    @rule(used=st.booleans())
    def a_voucher_ends(self, used: bool) -> None:
        """It is paid, or lapses at a moment of its holder's choice and its amount joins again."""
        who, amount = self.vouchers.pop(0)
        if not used and amount:
            self.join(who, amount)

    @rule(size=_PARTS, premium=st.integers(0, 2_000), strike=st.integers(90, 110), blocks=st.integers(1, 60))
    def a_policy_is_written(self, size: int, premium: int, strike: int, blocks: int) -> None:
        """For a part of the free capital; the premium in base points of the collateral, be it a gift."""
        collateral = (self.capital - sum(policy.max_payout for policy in self.policies)) * size // 20
        if collateral <= 0:
            return
        before, paid = self.fair, collateral * premium // 1_000
        strike_e8 = strike * 1_000 * _E8
        floor_e8 = strike_e8 * 8 // 10
        self.policies.append(
            OpenPolicy(
                Token.SBTC,
                max(collateral * floor_e8 // (strike_e8 - floor_e8), 1),
                strike_e8,
                floor_e8,
                collateral,
                paid,
                self.height,
                self.height + blocks,
            )
        )
        self.values.append(collateral * premium // 2_000)
        self.decided.append(None)
        self.capital += paid
        self.moves_everybody(before)

    @precondition(lambda self: self.policies)
    @rule(tenths=st.integers(0, 10), void=st.booleans())
    def a_policy_ends(self, tenths: int, void: bool) -> None:
        """As it was decided, if it was; settled for another part of its collateral or expired with nothing, if it was
        not or the decision came to nothing: its premium is earned at once."""
        before = self.fair
        policy, decided = self.policies.pop(0), self.decided.pop(0)
        self.values.pop(0)
        self.capital -= policy.max_payout * tenths // 10 if void or decided is None else decided
        self.moves_everybody(before)

    @precondition(lambda self: self.policies)
    @rule(which=st.integers(0, 99), price=st.integers(60_000, 120_000))
    def a_payout_is_decided(self, which: int, price: int) -> None:
        """At another price than that of now, and before the chain pays it."""
        before, number = self.fair, which % len(self.policies)
        policy = self.policies[number] = self.policies[number]._replace(decided_btc_e8=price * _E8)
        terms = policy.token, policy.amount_sats, policy.strike_e8, policy.floor_e8
        self.decided[number] = payout(*terms, price * _E8, 0, policy.max_payout)
        self.moves_everybody(before)

    @rule(price=st.integers(70_000, 120_000), blocks=st.integers(0, 30), data=st.data())
    def the_market_moves(self, price: int, blocks: int, data: st.DataObject) -> None:
        """To any price, and to whatever a model then says."""
        before = self.fair
        self.prices, self.height = Prices(price * _E8, 0), self.height + blocks
        self.values = [policy.max_payout * data.draw(st.integers(0, 12)) // 10 for policy in self.policies]
        self.moves_everybody(before)

    @invariant()
    def who_stays_loses_nothing_to_others(self) -> None:
        """Their part of what is there is worth at least what the model says."""
        if _STAYS not in self.count:
            return
        assert self.part_of_stayer * (self.fair + shares.VIRTUAL_SHARES) >= self.worth[_STAYS]

    @property
    def part_of_stayer(self) -> Fraction:
        """Of everything there is."""
        return Fraction(self.count[_STAYS], sum(self.count.values()) + shares.VIRTUAL_SHARES)


TierHistory.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestTierHistory = TierHistory.TestCase

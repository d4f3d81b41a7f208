"""Random histories of a tier against an independent model of it: nobody gains from those who stay.

The model is a fund without rounding, spread or share count: whoever joins owns what they paid in, whoever leaves takes
their part at its full worth, and what policies bring or cost moves everybody by the same factor. A payout that is
decided costs in that moment, whatever the market does until it is paid. So does one that an expiration has decided
before anything is signed, also where only a person will say what it is. The fixed virtual shares are one more owner.
Whoever stays throughout must be worth at least as much by the pool's own rules.

Tiers lose everything, or all but dust, with policies open or none. What the pool then gives no shares for waits, is
asked again or taken back; where it makes shares fewer, everybody keeps their part of what is really there, the virtual
shares nothing, less what a whole share may cost to round.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel.units import Token, payout
from services.pool.domain import shares
from services.pool.domain.decision import ExpiryPrices
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
        # By expiration height that is reached, the BTC price that decides there; nobody knows it before a person does.
        self.averages: dict[int, int] = {}
        self.count: dict[str, int] = {}
        self.worth = {_VIRTUAL: Fraction(shares.VIRTUAL_SHARES)}
        self.vouchers: list[tuple[str, int]] = []
        self.waiting: list[tuple[str, int]] = []

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
        for number, (policy, value) in enumerate(zip(self.policies, self.values, strict=True)):
            taken = self.taken(number)
            claims += shares.claim_when_joining(policy, self.prices, value) if taken is None else taken
        return max(self.capital - claims, 0)

    def taken(self, number: int) -> int | None:
        """What a policy takes by its receipt, or else by its expiration; None while neither says."""
        policy, decided = self.policies[number], self.decided[number]
        average = self.averages.get(policy.expiration_burn_height)
        if decided is not None or average is None:
            return decided
        return _payout(policy, average) if policy.auto_settle else 0

    def moves_everybody(self, before: int) -> None:
        """The model's answer to whatever changed net assets from `before`, but no holder's deposit or withdrawal."""
        factor = Fraction(self.fair + shares.VIRTUAL_SHARES, before + shares.VIRTUAL_SHARES)
        self.worth = {who: worth * factor for who, worth in self.worth.items()}

    def join(self, who: str, amount: int) -> None:
        """A deposit is priced, or waits."""
        if not self.policies and shares.is_worthless(sum(self.count.values()), self.joining):
            self.consolidate()
        total, backed = sum(self.count.values()), self.joining + shares.VIRTUAL_SHARES
        if shares.why_waits(amount, total, self.joining):
            self.waiting.append((who, amount))
            return
        a_share = Fraction(backed, total + shares.VIRTUAL_SHARES)
        issued = shares.shares_for(amount, total, self.joining)
        self.capital += amount
        self.count[who] = self.count.get(who, 0) + issued
        self.worth[who] = self.worth.get(who, Fraction(0)) + amount
        assert 0 <= amount - issued * a_share < a_share <= amount
        assert total + issued + shares.VIRTUAL_SHARES <= 1_000 * (backed + amount)

    def consolidate(self) -> None:
        """Shares are made fewer: nobody would be paid less than before."""
        total, backing = sum(self.count.values()), Fraction(self.capital, self.capital + shares.VIRTUAL_SHARES)
        left = {who: shares.consolidated(held, total, self.capital) for who, held in self.count.items()}
        for who, held in self.count.items():
            before = shares.amount_for(held, total, self.capital)
            assert shares.amount_for(left[who], sum(left.values()), self.capital) >= before
        self.count = left
        self.worth = {who: max(worth * backing - 1, Fraction(0)) for who, worth in self.worth.items()}
        self.worth[_VIRTUAL] = Fraction(shares.VIRTUAL_SHARES)

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

    @precondition(lambda self: self.waiting)
    @rule(taken_back=st.booleans())
    def what_waits_is_asked_again(self, taken_back: bool) -> None:
        """Or taken back, by a voucher like any other."""
        waited = self.waiting.pop(0)
        if taken_back:
            self.vouchers.append(waited)
        else:
            self.join(*waited)

    @rule(left=st.sampled_from([0, 1, 500, 10**6]))
    def everything_is_lost(self, left: int) -> None:
        """Policies take all that the tier has, but for dust."""
        before = self.fair
        self.policies, self.values, self.decided = [], [], []
        self.capital = min(self.capital, left)
        self.moves_everybody(before)

    @rule(
        size=st.integers(1, 20),
        premium=st.integers(0, 2_000),
        strike=st.integers(90, 110),
        blocks=st.integers(1, 60),
        settles=st.booleans(),
    )
    def a_policy_is_written(self, size: int, premium: int, strike: int, blocks: int, settles: bool) -> None:
        """For a part of the free capital or all of it; the premium in base points of the collateral, be it a gift."""
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
                auto_settle=settles,
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
        before, taken = self.fair, self.taken(0)
        policy = self.policies.pop(0)
        self.values.pop(0)
        self.decided.pop(0)
        self.capital -= policy.max_payout * tenths // 10 if void or taken is None else taken
        self.moves_everybody(before)

    @precondition(lambda self: self.policies)
    @rule(which=st.integers(0, 99), price=st.integers(60_000, 120_000))
    def a_payout_is_decided(self, which: int, price: int) -> None:
        """At another price than that of now, and before the chain pays it."""
        before, number = self.fair, which % len(self.policies)
        policy = self.policies[number] = self.policies[number]._replace(decided_btc_e8=price * _E8)
        self.decided[number] = _payout(policy, price * _E8)
        self.moves_everybody(before)

    @precondition(lambda self: self.policies)
    @rule(which=st.integers(0, 99), price=st.integers(60_000, 120_000), person=st.booleans())
    def an_expiration_is_reached(self, which: int, price: int, person: bool) -> None:
        """Where the average is known at once, or a person will decide, and nothing is signed."""
        before, height = self.fair, self.policies[which % len(self.policies)].expiration_burn_height
        if height in self.averages:
            return
        self.averages[height], self.height = price * _E8, max(self.height, height)
        known = 0 if person else price * _E8
        self.prices = replace(self.prices, expiries=(*self.prices.expiries, ExpiryPrices(height, known, known)))
        self.model_what_expired()
        self.moves_everybody(before)

    def model_what_expired(self) -> None:
        """To a model, which knows the market alone, it is worth its payout now."""
        for number, policy in enumerate(self.policies):
            if policy.expiration_burn_height in self.averages:
                self.values[number] = _payout(policy, self.prices.btc_e8)

    @rule(price=st.integers(70_000, 120_000), blocks=st.integers(0, 30), data=st.data())
    def the_market_moves(self, price: int, blocks: int, data: st.DataObject) -> None:
        """To any price, and to whatever a model then says of what has not expired."""
        before = self.fair
        self.prices, self.height = replace(self.prices, btc_e8=price * _E8), self.height + blocks
        self.values = [policy.max_payout * data.draw(st.integers(0, 12)) // 10 for policy in self.policies]
        self.model_what_expired()
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


def _payout(policy: OpenPolicy, btc_e8: int) -> int:
    terms = policy.token, policy.amount_sats, policy.strike_e8, policy.floor_e8
    return payout(*terms, btc_e8, 0, policy.max_payout)


TierHistory.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestTierHistory = TierHistory.TestCase

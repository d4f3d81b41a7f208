"""Random histories of the pool: the books always balance, and the pool can always pay."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.units import AmountError, Tier, Token, bps_of_down
from services.pool.domain import ledger
from services.pool.domain.collateral import TierBooks
from services.pool.domain.ledger import Cause, Entry, EntryKind, Posting, UnbalancedEntry

_TIME = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_UTILIZATION_MAX_BPS = 8_000
_keys = st.tuples(st.sampled_from(Tier), st.sampled_from(Token))
_amounts = st.integers(1, 10**14)

Key = tuple[Tier, Token]


class PoolHistory(RuleBasedStateMachine):
    """Deposits, reservations, policies, withdrawals in any order, as the service admits them."""

    def __init__(self) -> None:
        super().__init__()
        self.balances: dict[tuple[str, Token], int] = defaultdict(int)
        self.open: list[tuple[Key, int]] = []
        self.held: list[tuple[Key, int]] = []
        self.vouchers: list[tuple[Key, int]] = []
        self.unpriced: list[tuple[Key, int]] = []
        self.count = 0

    def cause(self) -> Cause:
        """A new cause."""
        self.count += 1
        return Cause(f"{self.count:064x}/0", self.count, _TIME)

    def post(self, entry: Entry) -> None:
        """Adds an entry to the balances; only some kinds change a tier's capital."""
        capital: dict[str, int] = defaultdict(int)
        for posting in entry.postings:
            self.balances[posting.account, posting.token] += posting.amount
            if posting.account.startswith(("free_capital/", "locked_collateral/")):
                capital[posting.account.partition("/")[2]] += posting.amount
        assert entry.kind in ledger.CAPITAL_KINDS or not any(capital.values())

    def books(self, key: Key) -> TierBooks:
        """One tier."""
        tier, token = key
        return TierBooks(
            tier,
            token,
            free=-self.balances[ledger.free_capital(tier, token), token],
            locked=-self.balances[ledger.locked_collateral(tier, token), token],
            reserved=sum(amount for held, amount in self.held if held == key),
            shares=0,
        )

    @rule(key=_keys, amount=_amounts)
    def deposit(self, key: Key, amount: int) -> None:
        """A final deposit."""
        self.post(ledger.deposit(self.cause(), *key, amount))
        self.unpriced.append((key, amount))

    @precondition(lambda self: self.unpriced)
    @rule()
    def price(self) -> None:
        """The oldest deposit gets its shares."""
        key, amount = self.unpriced.pop(0)
        self.post(ledger.shares_issued(self.cause(), *key, amount))

    @precondition(lambda self: self.unpriced)
    @rule()
    def give_back(self) -> None:
        """The newest deposit is taken back."""
        key, amount = self.unpriced.pop()
        self.post(ledger.deposit_cancelled(self.cause(), *key, amount))
        self.vouchers.append((key, amount))

    @rule(key=_keys, share=st.integers(1, 10_000))
    def reserve(self, key: Key, share: int) -> None:
        """Capacity is held if the tier still has it."""
        collateral = bps_of_down(self.books(key).available(_UTILIZATION_MAX_BPS), share)
        if collateral:
            self.held.append((key, collateral))

    @precondition(lambda self: self.held)
    @rule(premium=st.integers(0, 10**12), fee=st.integers(0, 10**10), paid=st.booleans())
    def end_reservation(self, premium: int, fee: int, paid: bool) -> None:
        """A quote is paid, or not in time."""
        key, collateral = self.held.pop(0)
        if paid:
            self.post(ledger.policy_created(self.cause(), *key, premium, fee, collateral))
            self.open.append((key, collateral))

    @precondition(lambda self: self.open)
    @rule(share=st.integers(0, 10_000))
    def end_policy(self, share: int) -> None:
        """A policy is settled for a part of its collateral, or expires."""
        key, collateral = self.open.pop(0)
        payout = bps_of_down(collateral, share)
        if payout:
            self.post(ledger.policy_settled(self.cause(), *key, payout, collateral))
        else:
            self.post(ledger.policy_expired(self.cause(), *key, collateral))

    @rule(key=_keys, amount=_amounts)
    def withdraw(self, key: Key, amount: int) -> None:
        """A withdrawal is priced if free capital allows it."""
        if amount <= self.books(key).withdrawable:
            self.post(ledger.withdrawal_priced(self.cause(), *key, amount))
            self.vouchers.append((key, amount))

    @precondition(lambda self: self.vouchers)
    @rule(used=st.booleans())
    def end_voucher(self, used: bool) -> None:
        """A voucher is used, or lapses and re-enters."""
        key, amount = self.vouchers.pop(0)
        if used:
            self.post(ledger.withdrawal_paid(self.cause(), *key, amount))
        else:
            self.post(ledger.voucher_ended(self.cause(), *key, amount, "VOUCHER_LAPSED"))
            self.unpriced.append((key, amount))

    @invariant()
    def balanced(self) -> None:
        """All balances of a token sum to zero."""
        for token in Token:
            assert sum(amount for (_, of), amount in self.balances.items() if of is token) == 0

    @invariant()
    def solvent(self) -> None:
        """Per tier, open collateral is locked and what is held is free; per token, cash covers collateral and fees."""
        for token in Token:
            for tier in Tier:
                books = self.books((tier, token))
                assert books.locked == sum(amount for key, amount in self.open if key == (tier, token))
                assert books.locked + books.reserved <= books.total
                assert books.free >= books.reserved
            locked = sum(amount for (_, of), amount in self.open if of is token)
            fees = -self.balances[ledger.platform_fees(token), token]
            assert locked <= self.balances[ledger.vault_cash(token), token] - fees


PoolHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPoolHistory = PoolHistory.TestCase
_CAUSE = Cause("x/0", 1, _TIME)


def test_an_entry_that_does_not_balance_cannot_be_made() -> None:
    """Postings that do not sum to zero per token are refused, as is an entry without postings."""
    one = Posting("vault_cash/STX", Token.STX, 5)
    other = Posting("vault_cash/SBTC", Token.SBTC, -5)
    for postings in ((one,), (one, other), ()):
        with pytest.raises(UnbalancedEntry):
            Entry(_CAUSE, EntryKind.DEPOSIT, postings)


def test_a_payout_above_its_collateral_cannot_be_posted() -> None:
    """A settlement never takes more than the policy's collateral."""
    with pytest.raises(AmountError):
        ledger.policy_settled(_CAUSE, Tier.BALANCED, Token.STX, payout=101, max_payout=100)


def test_a_reversal_is_the_exact_opposite() -> None:
    """An entry and its reversal together move nothing."""
    entry = ledger.policy_created(_CAUSE, Tier.BALANCED, Token.SBTC, 7, 1, 100)
    sums: dict[str, int] = defaultdict(int)
    for posting in (*entry.postings, *ledger.reversal(_CAUSE, entry.postings, "reorganised").postings):
        sums[posting.account] += posting.amount
    assert set(sums.values()) == {0}

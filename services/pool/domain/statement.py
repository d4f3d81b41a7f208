"""What a provider's part of a tier was worth at two heights, and everything that happened to it between them.

Worth by the books: a part of the capital as shares are of all shares, premiums counting when they are paid. What a
withdrawal would be paid is less while policies are open (domain.shares). Each premium and payout counts by the shares
that were held when it was booked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from services.pool.domain.ledger import EntryKind


@dataclass(frozen=True)
class Holding:
    """A provider's shares, all shares, and the tier's capital in base units."""

    shares: int
    all_shares: int
    capital: int

    @property
    def worth(self) -> int:
        """The provider's part of the capital, rounded down."""
        return self.shares * self.capital // self.all_shares if self.all_shares else 0


@dataclass(frozen=True)
class Movement:
    """What one entry changed: the tier's capital in base units, all shares, and the provider's."""

    kind: EntryKind
    capital: int
    all_shares: int
    shares: int


@dataclass(frozen=True)
class Quiet:
    """What changed while the provider's shares did not: capital in base units, all shares, and what each share earned
    and paid."""

    capital: int
    all_shares: int
    premiums_per_share: Fraction
    payouts_per_share: Fraction


@dataclass(frozen=True)
class PeriodStatement:
    """Base units: opening + deposits - withdrawals + premiums - payouts + rest = closing, exactly.

    `rest` is what others left behind when they joined and left, rounding, and the provider's part of corrections and
    reversals.
    """

    opening: Holding
    closing: Holding
    deposits: int
    withdrawals: int
    premiums: int
    payouts: int

    @property
    def rest(self) -> int:
        """The difference that no other line explains."""
        explained = self.deposits - self.withdrawals + self.premiums - self.payouts
        return self.closing.worth - self.opening.worth - explained


def period_statement(opening: Holding, steps: Iterable[Movement | Quiet]) -> PeriodStatement:
    """The statement from `opening` through what happened in the order of the books."""
    shares, all_shares, capital = opening.shares, opening.all_shares, opening.capital
    deposits = withdrawals = 0
    premiums = payouts = Fraction(0)
    for one in steps:
        if isinstance(one, Quiet):
            premiums += shares * one.premiums_per_share
            payouts += shares * one.payouts_per_share
            all_shares, capital = all_shares + one.all_shares, capital + one.capital
            continue
        part = Fraction(shares, all_shares) if all_shares else Fraction(0)
        if one.kind is EntryKind.POLICY_CREATED:
            premiums += one.capital * part
        elif one.kind is EntryKind.POLICY_SETTLED:
            payouts -= one.capital * part
        elif one.kind is EntryKind.SHARES_ISSUED and one.shares:
            deposits += one.capital
        elif one.kind is EntryKind.WITHDRAWAL_PRICED and one.shares:
            withdrawals -= one.capital
        shares, all_shares, capital = shares + one.shares, all_shares + one.all_shares, capital + one.capital
    closing = Holding(shares, all_shares, capital)
    return PeriodStatement(opening, closing, deposits, withdrawals, int(premiums), int(payouts))

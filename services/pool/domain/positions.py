"""Compares what the accounts say with the rows that they stand for: deposits, withdrawals, policies, reservations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kernel.units import Tier, Token
from services.pool.domain import ledger
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference

Sums = Mapping[tuple[Tier, Token], int]


@dataclass(frozen=True)
class Positions:
    """Sums of rows, base units, and the ids of rows that stand where the chain no longer lets them.

    `restored_paid` is of vouchers that were paid and whose shares are not known.
    `overdue_reservations` and `overdue_vouchers` are past their last height; `created_reservations` are HELD though
    their policy is covered; `empty_reservations` are COMMITTED though it is not. `faults` are (kind, subject).
    """

    unpriced: Sums = field(default_factory=dict)
    restored_paid: Sums = field(default_factory=dict)
    payable: Sums = field(default_factory=dict)
    covered: Sums = field(default_factory=dict)
    overdue_reservations: tuple[str, ...] = ()
    created_reservations: tuple[str, ...] = ()
    empty_reservations: tuple[str, ...] = ()
    overdue_vouchers: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


def compare_positions(balances: Mapping[tuple[str, Token], int], positions: Positions) -> tuple[Difference, ...]:
    """Every difference between accounts and rows, accounts first."""
    return (*_accounts(balances, positions), *_rows(positions))


def _accounts(balances: Mapping[tuple[str, Token], int], positions: Positions) -> Iterator[Difference]:
    restored = positions.restored_paid
    for token in Token:
        for tier in Tier:
            for kind, account, rows in (
                ("UNPRICED_DEPOSITS_DIFFER", ledger.deposits_unpriced(tier, token), positions.unpriced),
                ("PAYABLE_WITHDRAWALS_DIFFER", ledger.withdrawals_payable(tier, token), positions.payable),
                ("TIER_COLLATERAL_DIFFERS", ledger.locked_collateral(tier, token), positions.covered),
            ):
                booked, expected = -balances.get((account, token), 0), rows.get((tier, token), 0)
                if booked != expected:
                    says = f"{booked} for {expected}"
                    yield Difference(kind, account, "", says, "", LikelyCause.WRONG_ACCOUNT)
            account = ledger.payments_unpriced(tier, token)
            booked, paid = balances.get((account, token), 0), restored.get((tier, token), 0)
            # Less, once a person has set some of it against the deposits of its providers.
            if booked > paid:
                says = f"{booked} for {paid}"
                yield Difference("PAYMENTS_UNPRICED_DIFFER", account, "", says, "", LikelyCause.WRONG_ACCOUNT)
        left = balances.get((ledger.suspense(token), token), 0)
        if left:
            cause = LikelyCause.UNEXPLAINED_PAYMENT
            yield Difference("SUSPENSE_LEFT", ledger.suspense(token), "", str(left), "", cause)


def _rows(positions: Positions) -> Iterator[Difference]:
    for kind, collection, ids, cause in (
        ("RESERVATION_OVERDUE", "policies", positions.overdue_reservations, LikelyCause.RELEASE_MISSED),
        ("RESERVATION_NOT_COMMITTED", "policies", positions.created_reservations, LikelyCause.COMMIT_MISSED),
        ("RESERVATION_EMPTY", "policies", positions.empty_reservations, LikelyCause.COMMITTED_WITHOUT_POLICY),
        ("VOUCHER_OVERDUE", "withdrawals", positions.overdue_vouchers, LikelyCause.LAPSE_MISSED),
    ):
        for identifier in ids:
            yield Difference(kind, f"{collection}/{identifier}", "", "", "", cause)
    for kind, subject in positions.faults:
        yield Difference(kind, subject, "", "", "", LikelyCause.DERIVED_BY_HAND)

"""What a person may correct: which accounts there are, how they may stand, and the entry that is made."""

from __future__ import annotations

from kernel.units import Tier, Token, check_amount
from services.pool.domain.ledger import (
    Cause,
    Entry,
    EntryKind,
    Posting,
    UnbalancedEntry,
    deposits_unpriced,
    free_capital,
    locked_collateral,
    payments_unpriced,
    platform_fees,
    suspense,
    vault_cash,
    withdrawals_payable,
)


def is_account(account: str, token: Token) -> bool:
    """Whether the chart has this account in this token."""
    by_tier = (free_capital, locked_collateral, deposits_unpriced, withdrawals_payable, payments_unpriced)
    known = {account_of(token) for account_of in (vault_cash, platform_fees, suspense)}
    known.update(account_of(tier, token) for account_of in by_tier for tier in Tier)
    return account in known or (token is Token.STX and account in ("gas_spent/STX", "gas_funding/STX"))


def may_stand(account: str, balance: int) -> bool:
    """Whether an account can have this balance: cash is never negative, and what is owed never turns into a claim."""
    kind = account.partition("/")[0]
    if kind in ("suspense", "gas_spent", "gas_funding"):
        return True
    return balance >= 0 if kind in ("vault_cash", "payments_unpriced") else balance <= 0


def correction(
    cause: Cause, token: Token, from_account: str, to_account: str, amount: int, reason: str, author: str
) -> Entry:
    """What a person moves from one account to another, for a reason: never a change of what was posted.

    AmountError or UnbalancedEntry where it would move nothing.
    """
    check_amount("amount", amount)
    if from_account == to_account:
        raise UnbalancedEntry(f"{from_account}: both sides are one account")
    moves = ((to_account, amount), (from_account, -amount))
    postings = tuple(Posting(account, token, moved) for account, moved in moves if moved)
    return Entry(cause, EntryKind.CORRECTION, postings, reason, author)

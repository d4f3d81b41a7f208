"""The double-entry ledger as pure values: what each thing that happens posts.

Chart of accounts; `{tier}` is CONSERVATIVE, BALANCED or AGGRESSIVE, `{token}` STX or SBTC. What is owned is
positive, what is owed for it negative, so that every entry, and all balances of a token together, sum to zero.

    vault_cash/{token}                  what the vault must have `accounted` (positive)
    deposits_unpriced/{tier}/{token}    final deposits, and vouchers that lapsed, that have no shares yet
    free_capital/{tier}/{token}         the shareholders' capital that no open policy claims, premiums included
    locked_collateral/{tier}/{token}    the shareholders' capital pledged to open policies: the sum of max_payout
    withdrawals_payable/{tier}/{token}  priced withdrawals, and deposits given back, whose voucher is not used yet
    payments_unpriced/{tier}/{token}    paid for vouchers that the books were made again from, which do not say how many
                                        shares were burned (positive): to be set against the deposits of their providers
    platform_fees/{token}               the platform's part, in the vault
    suspense/{token}                    what the chain moved and no book explains; zero unless something is wrong
    gas_spent/STX, gas_funding/STX      fees of our own transactions (positive), paid by the backend's accounts, not
                                        by the vault

A premium counts as capital when it is paid; how much of it is not earned yet is derived (domain.shares), not posted.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from kernel.units import Tier, Token, check_amount


class EntryKind(enum.StrEnum):
    """Why an entry was made."""

    DEPOSIT = "DEPOSIT"
    DEPOSIT_CANCELLED = "DEPOSIT_CANCELLED"
    SHARES_ISSUED = "SHARES_ISSUED"
    SHARES_CONSOLIDATED = "SHARES_CONSOLIDATED"
    POLICY_CREATED = "POLICY_CREATED"
    POLICY_SETTLED = "POLICY_SETTLED"
    POLICY_EXPIRED = "POLICY_EXPIRED"
    WITHDRAWAL_PRICED = "WITHDRAWAL_PRICED"
    WITHDRAWAL_PAID = "WITHDRAWAL_PAID"
    VOUCHER_ENDED = "VOUCHER_ENDED"
    FEES_WITHDRAWN = "FEES_WITHDRAWN"
    GAS = "GAS"
    UNATTRIBUTED = "UNATTRIBUTED"
    CORRECTION = "CORRECTION"
    REVERSAL = "REVERSAL"


CAPITAL_KINDS: Final = frozenset(
    (
        EntryKind.SHARES_ISSUED,
        EntryKind.SHARES_CONSOLIDATED,
        EntryKind.POLICY_CREATED,
        EntryKind.POLICY_SETTLED,
        EntryKind.WITHDRAWAL_PRICED,
        EntryKind.CORRECTION,
        EntryKind.REVERSAL,
    )
)
"""Kinds of entry that may change a tier's capital, free and locked together, or its shares."""
MOVES_NO_MONEY: Final = EntryKind.SHARES_CONSOLIDATED
"""The only kind without postings: it changes how many shares there are."""


@dataclass(frozen=True)
class Cause:
    """What made an entry, once: `{txid}/{event index}`, `{txid}/gas` or `{workflow step key}`.

    `burn_height` and `time` are the event's; for a step, those at which the books stood. `txid` is empty for steps.
    `occurrence` counts the times that a reorganisation took the event away and brought it back. `subject` is what the
    entry is about, where it is about one thing: `policies/{id}`, `deposits/{id}`, `withdrawals/{id}`.
    """

    key: str
    burn_height: int
    time: dt.datetime
    txid: str = ""
    occurrence: int = 0
    subject: str = ""

    @property
    def unique(self) -> str:
        """The key, followed by `/{occurrence}` where the event came back."""
        return f"{self.key}/{self.occurrence}" if self.occurrence else self.key


class Posting(NamedTuple):
    """A signed amount of base units on one account."""

    account: str
    token: Token
    amount: int


class UnbalancedEntry(ValueError):
    """Postings that do not sum to zero per token, or none where money moves."""


@dataclass(frozen=True)
class Entry:
    """A journal entry; UnbalancedEntry unless its postings sum to zero per token.

    `author` is the principal who had it made, where that was a person.
    """

    cause: Cause
    kind: EntryKind
    postings: tuple[Posting, ...]
    reason: str = ""
    author: str = ""

    def __post_init__(self) -> None:
        sums: dict[Token, int] = {}
        for posting in self.postings:
            sums[posting.token] = sums.get(posting.token, 0) + posting.amount
        if any(sums.values()) or bool(self.postings) is (self.kind is MOVES_NO_MONEY):
            raise UnbalancedEntry(f"{self.kind} {self.cause.key}: {sums}")


@functools.cache
def vault_cash(token: Token) -> str:
    """What the vault must have accounted."""
    return f"vault_cash/{token.name}"


@functools.cache
def platform_fees(token: Token) -> str:
    """The platform's part."""
    return f"platform_fees/{token.name}"


def suspense(token: Token) -> str:
    """What no book explains."""
    return f"suspense/{token.name}"


@functools.cache
def free_capital(tier: Tier, token: Token) -> str:
    """Shareholders' capital that no open policy claims."""
    return f"free_capital/{tier.name}/{token.name}"


@functools.cache
def locked_collateral(tier: Tier, token: Token) -> str:
    """Shareholders' capital pledged to open policies."""
    return f"locked_collateral/{tier.name}/{token.name}"


@functools.cache
def deposits_unpriced(tier: Tier, token: Token) -> str:
    """Final deposits without shares."""
    return f"deposits_unpriced/{tier.name}/{token.name}"


@functools.cache
def withdrawals_payable(tier: Tier, token: Token) -> str:
    """Priced withdrawals not paid yet."""
    return f"withdrawals_payable/{tier.name}/{token.name}"


@functools.cache
def payments_unpriced(tier: Tier, token: Token) -> str:
    """Paid for restored vouchers."""
    return f"payments_unpriced/{tier.name}/{token.name}"


def _postings(token: Token, amounts: Mapping[str, int]) -> tuple[Posting, ...]:
    return tuple(Posting(account, token, amount) for account, amount in amounts.items() if amount)


def deposit(cause: Cause, tier: Tier, token: Token, amount: int) -> Entry:
    """A deposit became final: cash, owed to its provider until it has shares."""
    check_amount("amount", amount)
    amounts = {vault_cash(token): amount, deposits_unpriced(tier, token): -amount}
    return Entry(cause, EntryKind.DEPOSIT, _postings(token, amounts))


def deposit_cancelled(cause: Cause, tier: Tier, token: Token, amount: int) -> Entry:
    """A deposit without shares is given back: its provider is owed all of it by a voucher."""
    check_amount("amount", amount)
    amounts = {deposits_unpriced(tier, token): amount, withdrawals_payable(tier, token): -amount}
    return Entry(cause, EntryKind.DEPOSIT_CANCELLED, _postings(token, amounts))


def shares_issued(cause: Cause, tier: Tier, token: Token, amount: int) -> Entry:
    """A deposit received its shares and is capital."""
    check_amount("amount", amount)
    amounts = {deposits_unpriced(tier, token): amount, free_capital(tier, token): -amount}
    return Entry(cause, EntryKind.SHARES_ISSUED, _postings(token, amounts))


def shares_consolidated(cause: Cause, reason: str) -> Entry:
    """Shares that were worth next to nothing were made fewer (`reason`); the lines say whose, and no money moved."""
    return Entry(cause, EntryKind.SHARES_CONSOLIDATED, (), reason)


def policy_created(cause: Cause, tier: Tier, token: Token, premium: int, fee: int, max_payout: int) -> Entry:
    """Premium and fee came in; capital of `max_payout` is pledged."""
    for name, value in (("premium", premium), ("fee", fee), ("max_payout", max_payout)):
        check_amount(name, value)
    amounts = {
        vault_cash(token): premium + fee,
        platform_fees(token): -fee,
        free_capital(tier, token): max_payout - premium,
        locked_collateral(tier, token): -max_payout,
    }
    return Entry(cause, EntryKind.POLICY_CREATED, _postings(token, amounts))


def policy_settled(cause: Cause, tier: Tier, token: Token, payout: int, max_payout: int) -> Entry:
    """The payout left the vault; the rest of the collateral is free. AmountError unless payout <= max_payout."""
    check_amount("payout", payout)
    released = check_amount("released", max_payout - payout)
    amounts = {
        vault_cash(token): -payout,
        locked_collateral(tier, token): max_payout,
        free_capital(tier, token): -released,
    }
    return Entry(cause, EntryKind.POLICY_SETTLED, _postings(token, amounts))


def policy_expired(cause: Cause, tier: Tier, token: Token, max_payout: int) -> Entry:
    """All collateral is free."""
    check_amount("max_payout", max_payout)
    amounts = {locked_collateral(tier, token): max_payout, free_capital(tier, token): -max_payout}
    return Entry(cause, EntryKind.POLICY_EXPIRED, _postings(token, amounts))


def withdrawal_priced(cause: Cause, tier: Tier, token: Token, amount: int) -> Entry:
    """Shares were burned; their worth is owed to the provider and no capital any more."""
    check_amount("amount", amount)
    amounts = {free_capital(tier, token): amount, withdrawals_payable(tier, token): -amount}
    return Entry(cause, EntryKind.WITHDRAWAL_PRICED, _postings(token, amounts))


def withdrawal_paid(cause: Cause, tier: Tier, token: Token, amount: int, *, restored: bool = False) -> Entry:
    """The voucher was used. Of a restored one the shares are not known, and nothing was set aside for it."""
    check_amount("amount", amount)
    owed = payments_unpriced(tier, token) if restored else withdrawals_payable(tier, token)
    return Entry(cause, EntryKind.WITHDRAWAL_PAID, _postings(token, {owed: amount, vault_cash(token): -amount}))


def voucher_ended(cause: Cause, tier: Tier, token: Token, amount: int, reason: str) -> Entry:
    """The voucher can never be used (`reason`): its amount re-enters like a new deposit, priced as one."""
    check_amount("amount", amount)
    amounts = {withdrawals_payable(tier, token): amount, deposits_unpriced(tier, token): -amount}
    return Entry(cause, EntryKind.VOUCHER_ENDED, _postings(token, amounts), reason)


def fees_withdrawn(cause: Cause, token: Token, amount: int) -> Entry:
    """The admin took platform fees out of the vault."""
    check_amount("amount", amount)
    amounts = {platform_fees(token): amount, vault_cash(token): -amount}
    return Entry(cause, EntryKind.FEES_WITHDRAWN, _postings(token, amounts))


def gas_key(txid: str) -> str:
    """The key of what a transaction cost, whichever of its events tells it."""
    return f"{txid}/gas"


def gas(cause: Cause, fee_ustx: int) -> Entry:
    """What one of our own transactions cost; never the vault's money."""
    check_amount("fee_ustx", fee_ustx)
    return Entry(cause, EntryKind.GAS, _postings(Token.STX, {"gas_spent/STX": fee_ustx, "gas_funding/STX": -fee_ustx}))


def unattributed_payment(cause: Cause, token: Token, amount: int, reason: str) -> Entry:
    """The vault paid what no book explains: cash follows the chain, the rest waits in suspense for a person."""
    check_amount("amount", amount)
    amounts = {suspense(token): amount, vault_cash(token): -amount}
    return Entry(cause, EntryKind.UNATTRIBUTED, _postings(token, amounts), reason)


def reversal(cause: Cause, postings: tuple[Posting, ...], reason: str) -> Entry:
    """The opposite of an entry whose cause the chain withdrew."""
    opposite = tuple(Posting(posting.account, posting.token, -posting.amount) for posting in postings)
    return Entry(cause, EntryKind.REVERSAL, opposite, reason)

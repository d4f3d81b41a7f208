"""What final events of the chain do to the books: the rules, applied in memory to a page of events in their order.

A `Page` holds what the books say about everything that its events name, and collects what they change; store_pages
reads the one and writes the other. A page of one event and the same events in one page give the same books.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kernel.ids import resource_name
from kernel.temporal import SIGNAL, START
from kernel.units import Tier, Token
from services.pool import store_journal, tables
from services.pool.domain import chain_event as chain
from services.pool.domain import ledger
from services.pool.domain.collateral import ReservationState
from services.pool.domain.ledger import Cause, Entry
from services.pool.domain.withdrawal import READY_BLOCKS, WithdrawalState, may_become
from services.pool.store_coverage import ACTIVE
from workflows.contract import (
    DepositLiquidityInput,
    Signal,
    SignalName,
    WithdrawLiquidityInput,
    start_deposit_liquidity,
    start_withdraw_liquidity,
)

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
VOUCHER_LAPSED: Final = "voucher lapsed"
_VETOED: Final = "VOUCHER_VETOED"
_LAPSED: Final = "VOUCHER_LAPSED"
_PAID_FOR: Final = frozenset({ReservationState.HELD, ReservationState.COMMITTED})


class UnexplainedEvent(Exception):
    """The books cannot explain the event; it is recorded for a person, under a stable reason."""


class PostedBefore(Exception):
    """Something in the page may be in the books already: what they say of its causes must be read first."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What was posted for one event or step: its causes, and whether one of their entries stands."""

    causes: frozenset[str]
    stands: bool


@dataclass(slots=True)
class Covered:
    """A policy that the chain holds, and how it ended."""

    tier: Tier
    token: Token
    max_payout: int
    status: str = ACTIVE
    payout: int = 0
    ended_burn_height: int | None = None


@dataclass(frozen=True, slots=True)
class NewDeposit:
    """A final deposit that waits for its shares; `withdrawal_id` where a voucher's amount re-entered."""

    id: str
    line: store_journal.Line
    cause: Cause
    market_time: dt.datetime
    withdrawal_id: str | None = None


@dataclass(slots=True)
class Changes:
    """What a page changes, each in the order of its events. `created` and `ended` are policies of the page."""

    entries: list[store_journal.NewEntry] = field(default_factory=list)
    created: dict[str, chain.PolicyCreated] = field(default_factory=dict)
    ended: dict[str, Covered] = field(default_factory=dict)
    committed: list[str] = field(default_factory=list)
    deposits: list[NewDeposit] = field(default_factory=list)
    messages: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    unknown: list[tuple[Cause, str, bytes]] = field(default_factory=list)


@dataclass
class Page:
    """Events of one page in the books; `posted` is by event or step, None where nothing is taken to be posted yet.

    PostedBefore where that is not enough. Whatever raises has changed nothing.
    """

    policies: dict[str, Covered] = field(default_factory=dict)
    reservations: dict[str, ReservationState] = field(default_factory=dict)
    withdrawals: dict[str, tables.Withdrawal] = field(default_factory=dict)
    posted: dict[str, Posted] | None = None
    changes: Changes = field(default_factory=Changes)
    _new: set[str] = field(default_factory=set)

    def apply(self, event: chain.ChainEvent, market_time: dt.datetime) -> None:
        """Applies one event. UnexplainedEvent or ValueError when the books cannot take it in."""
        gas = _gas(event)
        cause = event.cause
        match event.payload:
            case chain.PolicySettled() | chain.PolicyExpired() as ended:
                self._ended(cause, ended)
            case chain.PolicyCreated() as created:
                self._created(cause, created)
            case chain.Deposited() as deposited:
                self._deposited(cause, deposited, market_time)
            case chain.VoucherPaid() as paid:
                self._paid(cause, paid)
            case chain.VoucherDelayed() as delayed:
                self._withdrawal(delayed.withdrawal_id).last_use_burn_height = delayed.ready_burn_height + READY_BLOCKS
            case chain.VoucherVetoed() as vetoed:
                self._end_voucher(self._withdrawal(vetoed.withdrawal_id), cause, _VETOED, market_time)
            case chain.FeesWithdrawn() as fees:
                self._post(ledger.fees_withdrawn(cause, fees.token, fees.amount))
            case chain.FeePaid() | chain.Irrelevant():
                pass
        self._post_gas(gas)

    def lapse(self, withdrawal_id: str, burn_height: int, market_time: dt.datetime) -> None:
        """Ends a voucher whose last height is final without its use."""
        subject = resource_name("withdrawals", withdrawal_id)
        cause = Cause(f"{subject}/lapse", burn_height, market_time, subject=subject)
        self._end_voucher(self._withdrawal(withdrawal_id), cause, _LAPSED, market_time)

    def record(self, cause: Cause, reason: str, message: bytes, event: chain.ChainEvent | None = None) -> None:
        """Keeps what the books cannot explain, for a person; cash follows the chain also then, and so does gas."""
        if event is not None:
            match event.payload:
                case chain.PolicySettled(token=token, payout=amount) | chain.VoucherPaid(token=token, amount=amount):
                    if amount:
                        self._post(ledger.unattributed_payment(event.cause, token, amount, reason))
            self._post_gas(_gas(event))
        self.changes.unknown.append((cause, reason, message))

    def _stands(self, key: str) -> bool:
        if key in self._new:
            return True
        if self.posted is None:
            raise PostedBefore(key)
        return key in self.posted and self.posted[key].stands

    def _post(self, entry: Entry, *lines: store_journal.Line) -> Cause | None:
        """Posts under the event's cause; the cause used, or None if the event is in the books already.

        An event that was withdrawn and came back in another block is a new cause: `{txid}/{event index}/{n}`.
        """
        key = entry.cause.key
        if key in self._new:
            return None
        before = self.posted.get(key) if self.posted is not None else None
        if before is not None:
            if before.stands:
                return None
            while entry.cause.unique in before.causes:
                entry = replace(entry, cause=replace(entry.cause, occurrence=entry.cause.occurrence + 1))
        self._new.add(key)
        self.changes.entries.append(store_journal.NewEntry(entry, lines))
        return entry.cause

    def _post_gas(self, gas: Entry | None) -> None:
        # What a transaction cost is posted by the first of its events that is told.
        if gas is not None:
            self._post(gas)

    def _deposited(self, cause: Cause, deposited: chain.Deposited, market_time: dt.datetime) -> None:
        tier, token, amount = deposited.tier, deposited.token, deposited.amount
        line = store_journal.Line(deposited.provider, DEPOSIT, tier, token, amount)
        posted = self._post(ledger.deposit(cause, tier, token, amount), line)
        if posted is not None:
            self._add_deposit(NewDeposit(posted.unique.replace("/", "-"), line, posted, market_time))

    def _add_deposit(self, deposit: NewDeposit) -> None:
        self.changes.deposits.append(deposit)
        line = deposit.line
        given = DepositLiquidityInput(resource_name("deposits", deposit.id), line.provider, line.tier.name)
        start = start_deposit_liquidity(given)
        self.changes.messages.append((START, start.workflow_id, start.payload()))

    def _created(self, cause: Cause, created: chain.PolicyCreated) -> None:
        policy, policy_id = created.policy, created.policy_id
        entry = ledger.policy_created(cause, created.tier, policy.token, policy.premium, created.fee, policy.max_payout)
        if self._post(entry) is None:
            return
        self.policies[policy_id] = Covered(created.tier, policy.token, policy.max_payout)
        self.changes.created[policy_id] = created
        self.changes.ended.pop(policy_id, None)
        before = self.reservations.get(policy_id)
        if before is not None:
            self.reservations[policy_id] = ReservationState.COMMITTED
            self.changes.committed.append(policy_id)
        if before not in _PAID_FOR:
            self.changes.unknown.append((cause, f"POLICY_WITHOUT_RESERVATION: {before or 'none'}", b""))

    def _ended(self, cause: Cause, ended: chain.PolicySettled | chain.PolicyExpired) -> None:
        policy = self.policies.get(ended.policy_id)
        if policy is None:
            raise UnexplainedEvent("POLICY_NOT_COVERED")
        if policy.status != ACTIVE:
            if self._stands(cause.key):
                return
            raise UnexplainedEvent("POLICY_ENDED_TWICE")
        if policy.token != ended.token or policy.max_payout != ended.max_payout:
            raise UnexplainedEvent("POLICY_TERMS_DIFFER")
        if isinstance(ended, chain.PolicySettled):
            status, payout = "SETTLED", ended.payout
            entry = ledger.policy_settled(cause, policy.tier, policy.token, payout, policy.max_payout)
        else:
            status, payout = "EXPIRED", 0
            entry = ledger.policy_expired(cause, policy.tier, policy.token, policy.max_payout)
        if self._post(entry) is None:
            return
        policy.status, policy.payout, policy.ended_burn_height = status, payout, cause.burn_height
        self.changes.ended[ended.policy_id] = policy

    def _withdrawal(self, withdrawal_id: str) -> tables.Withdrawal:
        row = self.withdrawals.get(withdrawal_id)
        if row is None:
            raise UnexplainedEvent("WITHDRAWAL_UNKNOWN")
        return row

    def _paid(self, cause: Cause, paid: chain.VoucherPaid) -> None:
        row = self._withdrawal(paid.withdrawal_id)
        if row.state == WithdrawalState.PAID and self._stands(cause.key):
            return
        if not may_become(WithdrawalState(row.state), WithdrawalState.PAID):
            raise UnexplainedEvent(f"WITHDRAWAL_{row.state}")
        if (paid.provider, paid.token, paid.amount) != (row.provider, Token(row.token), row.amount):
            raise UnexplainedEvent("WITHDRAWAL_TERMS_DIFFER")
        tier = Tier(row.tier)
        line = store_journal.Line(row.provider, WITHDRAWAL, tier, paid.token, paid.amount)
        entry = ledger.withdrawal_paid(cause, tier, paid.token, paid.amount, restored=row.restored)
        if self._post(entry, line) is None:
            return
        row.state, row.txid = WithdrawalState.PAID.value, cause.txid
        self._signal_ended(row)

    def _end_voucher(self, row: tables.Withdrawal, cause: Cause, reason: str, market_time: dt.datetime) -> None:
        """The amount of a voucher that can never be used re-enters, priced like a deposit that is final now."""
        if not may_become(WithdrawalState(row.state), WithdrawalState.LAPSED):
            raise UnexplainedEvent(f"WITHDRAWAL_{row.state}")
        if row.restored:
            # Nothing was set aside for it: the deposit that it was of is owed in full.
            row.state, row.reason = WithdrawalState.LAPSED.value, reason
            return
        tier, token = Tier(row.tier), Token(row.token)
        line = store_journal.Line(row.provider, VOUCHER_LAPSED, tier, token, row.amount)
        if self._post(ledger.voucher_ended(cause, tier, token, row.amount, reason), line) is None:
            return
        row.state, row.reason = WithdrawalState.LAPSED.value, reason
        self._add_deposit(NewDeposit(f"{row.id}-0", line, cause, market_time, withdrawal_id=row.id))
        self._signal_ended(row)

    def _signal_ended(self, row: tables.Withdrawal) -> None:
        given = WithdrawLiquidityInput(resource_name("withdrawals", row.id), row.provider, Tier(row.tier).name)
        workflow_id = start_withdraw_liquidity(given).workflow_id
        signal = Signal(workflow_id, SignalName.WITHDRAWAL_ENDED, row.state)
        self.changes.messages.append((SIGNAL, workflow_id, signal.payload()))


def _gas(event: chain.ChainEvent) -> Entry | None:
    """What the event's transaction cost our own accounts."""
    if not event.backend_fee_ustx:
        return None
    cause = replace(event.cause, key=ledger.gas_key(event.cause.txid), subject="")
    return ledger.gas(cause, event.backend_fee_ustx)

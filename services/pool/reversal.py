"""A reorganisation deeper than finality: reversing entries, and each row back in the state before.

From then on no capacity is given out until an operator has looked and calls ResumeReservations.
"""

from __future__ import annotations

from dataclasses import replace

from sqlmodel.ext.asyncio.session import AsyncSession

from services.pool import store_coverage, store_journal, store_positions
from services.pool.domain import chain_event as chain
from services.pool.domain import ledger
from services.pool.domain.collateral import ReservationState
from services.pool.domain.withdrawal import WithdrawalState
from services.pool.projection import UnexplainedEvent

_REASON = "the chain withdrew the event after it was final"


async def take_back(session: AsyncSession, event: chain.ChainEvent) -> None:
    """Reverses what an event did to the books. UnexplainedEvent for what only a person can take back."""
    entry = await store_journal.standing_entry(session, event.cause.key)
    match event.payload:
        case chain.FeePaid() | chain.Irrelevant():
            return
        case chain.VoucherDelayed(withdrawal_id=withdrawal_id):
            await _expect_voucher_again(session, withdrawal_id, WithdrawalState.READY)
        case chain.VoucherVetoed():
            raise UnexplainedEvent("VETO_WITHDRAWN")
        case _ if entry is None:
            raise UnexplainedEvent("NOTHING_TO_REVERSE")
        case chain.Deposited():
            await _forget_deposit(session, event)
        case chain.PolicyCreated(policy_id=policy_id):
            await _uncover(session, policy_id, event.cause.burn_height)
        case chain.PolicySettled(policy_id=policy_id) | chain.PolicyExpired(policy_id=policy_id):
            await _cover_again(session, policy_id)
        case chain.VoucherPaid(withdrawal_id=withdrawal_id):
            await _expect_voucher_again(session, withdrawal_id, WithdrawalState.PAID)
        case chain.FeesWithdrawn():
            pass
    if entry is not None:
        await reverse(session, event.cause, entry)


async def take_back_gas(session: AsyncSession, event: chain.ChainEvent) -> None:
    """Reverses what the event's transaction cost, unless another of its events has: it costs that in no block."""
    entry = await store_journal.standing_entry(session, ledger.gas_key(event.cause.txid))
    if event.backend_fee_ustx and entry is not None:
        await reverse(session, event.cause, entry)


async def reverse(
    session: AsyncSession, cause: ledger.Cause, entry: store_journal.StoredEntry, reason: str = _REASON
) -> None:
    """Posts the opposite of an entry with its lines, once."""
    reversing = replace(cause, key=f"reversal/{entry.id}", subject=entry.row.subject or "")
    lines = [replace(line, kind=f"{line.kind} reversed", shares_delta=-line.shares_delta) for line in entry.lines]
    await store_journal.post_entry(session, ledger.reversal(reversing, entry.postings, reason), lines, entry.id)


async def _forget_deposit(session: AsyncSession, event: chain.ChainEvent) -> None:
    """A deposit that never was has no shares either."""
    cause = event.cause
    row = await store_positions.standing_deposit_of(session, cause.txid, cause.key.replace("/", "-"))
    if row is None:
        raise UnexplainedEvent("DEPOSIT_UNKNOWN")
    if row.state == store_positions.CANCELLED:
        # Its voucher may be used yet, or has been. If the event comes back, it is in the books.
        raise UnexplainedEvent("DEPOSIT_CANCELLED")
    if row.state == store_positions.PRICED:
        priced = await store_journal.standing_entry(session, f"deposits/{row.id}/price")
        if priced is not None:
            await reverse(session, cause, priced)
    row.state = store_positions.REVERSED
    session.add(row)


async def _uncover(session: AsyncSession, policy_id: str, burn_height: int) -> None:
    coverage = await store_coverage.get_coverage(session, policy_id)
    if coverage is None or coverage.status != store_coverage.ACTIVE:
        raise UnexplainedEvent("POLICY_NOT_OPEN")
    coverage.status, coverage.ended_burn_height = store_coverage.REVERSED, burn_height
    session.add(coverage)
    # The quote is still signed: until its last height is final the capacity stays set aside.
    await store_coverage.end_reservation(session, policy_id, ReservationState.HELD, "CREATION_WITHDRAWN")


async def _cover_again(session: AsyncSession, policy_id: str) -> None:
    coverage = await store_coverage.get_coverage(session, policy_id)
    if coverage is None or coverage.status not in ("SETTLED", "EXPIRED"):
        raise UnexplainedEvent("POLICY_NOT_ENDED")
    coverage.status, coverage.payout, coverage.ended_burn_height = store_coverage.ACTIVE, 0, None
    session.add(coverage)


async def _expect_voucher_again(session: AsyncSession, withdrawal_id: str, state: WithdrawalState) -> None:
    """The voucher is as good as before the event: its payment (PAID) or its delay (READY) did not happen."""
    row = await store_positions.get_withdrawal(session, withdrawal_id, lock=True)
    if row is None or (state is WithdrawalState.PAID and row.state != state):
        raise UnexplainedEvent("WITHDRAWAL_NOT_PAID")
    if state is WithdrawalState.PAID:
        row.state, row.txid = WithdrawalState.READY.value, ""
    else:
        row.last_use_burn_height = row.voucher_expiration_burn_height
    session.add(row)

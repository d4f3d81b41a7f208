"""What each final event of the chain does to the books. Runs inside the projector's transaction, once per cause."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel import outbox
from kernel.ids import resource_name
from kernel.temporal import SIGNAL, START
from kernel.units import Tier, Token
from services.pool import store_coverage, store_journal, store_positions, tables
from services.pool.domain import chain_event as chain
from services.pool.domain import ledger
from services.pool.domain.collateral import ReservationState
from services.pool.domain.ledger import Cause, Entry
from services.pool.domain.withdrawal import READY_BLOCKS, WithdrawalState, may_become
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


class UnexplainedEvent(Exception):
    """The books cannot explain the event; it is recorded for a person, under a stable reason."""


async def apply(session: AsyncSession, event: chain.ChainEvent, market_time: dt.datetime) -> None:
    """Applies one event. UnexplainedEvent or ValueError when the books cannot take it in (nothing is kept then)."""
    cause = event.cause
    match event.payload:
        case chain.Deposited() as deposited:
            await _deposited(session, cause, deposited, market_time)
        case chain.PolicyCreated() as created:
            await _created(session, cause, created)
        case chain.PolicySettled() | chain.PolicyExpired() as ended:
            await _ended(session, cause, ended)
        case chain.VoucherPaid() as paid:
            await _paid(session, cause, paid)
        case chain.VoucherDelayed() as delayed:
            row = await _withdrawal(session, delayed.withdrawal_id)
            row.last_use_burn_height = delayed.ready_burn_height + READY_BLOCKS
            session.add(row)
        case chain.VoucherVetoed() as vetoed:
            row = await _withdrawal(session, vetoed.withdrawal_id)
            await end_voucher(session, row, cause, _VETOED, market_time)
        case chain.FeesWithdrawn() as fees:
            await _post(session, ledger.fees_withdrawn(cause, fees.token, fees.amount))
        case chain.Irrelevant():
            pass


async def record_gas(session: AsyncSession, event: chain.ChainEvent) -> None:
    """Posts what the event's transaction cost our own accounts, once per transaction."""
    if event.backend_fee_ustx:
        cause = replace(event.cause, key=f"{event.cause.txid}/gas", subject="")
        await store_journal.post_entry(session, ledger.gas(cause, event.backend_fee_ustx))


async def follow_unexplained_cash(session: AsyncSession, event: chain.ChainEvent, reason: str) -> None:
    """Cash follows the chain also where the books do not know why: the payment waits in suspense."""
    match event.payload:
        case chain.PolicySettled(token=token, payout=amount) | chain.VoucherPaid(token=token, amount=amount):
            if amount:
                await _post(session, ledger.unattributed_payment(event.cause, token, amount, reason))


async def _post(session: AsyncSession, entry: Entry, *lines: store_journal.Line) -> Cause | None:
    """Posts under the event's cause; the cause used, or None if the event is in the books already.

    An event that was withdrawn and came back in another block is a new cause: `{txid}/{event index}/{n}`.
    """
    while await store_journal.post_entry(session, entry, lines) is None:
        if await store_journal.standing_entry(session, entry.cause.key) is not None:
            return None
        entry = replace(entry, cause=replace(entry.cause, occurrence=entry.cause.occurrence + 1))
    return entry.cause


async def _deposited(session: AsyncSession, cause: Cause, deposited: chain.Deposited, market_time: dt.datetime) -> None:
    tier, token, amount = deposited.tier, deposited.token, deposited.amount
    line = store_journal.Line(deposited.provider, DEPOSIT, tier, token, amount)
    posted = await _post(session, ledger.deposit(cause, tier, token, amount), line)
    if posted is not None:
        await _add_deposit(session, posted.unique.replace("/", "-"), line, posted, market_time)


async def _add_deposit(
    session: AsyncSession,
    deposit_id: str,
    line: store_journal.Line,
    cause: Cause,
    market_time: dt.datetime,
    withdrawal_id: str | None = None,
) -> None:
    row = tables.Deposit(
        id=deposit_id,
        provider=line.provider,
        tier=int(line.tier),
        token=int(line.token),
        amount=line.amount,
        state=store_positions.FINAL,
        txid=cause.txid,
        burn_height=cause.burn_height,
        final_market_time=market_time,
        withdrawal_id=withdrawal_id,
    )
    session.add(row)
    given = DepositLiquidityInput(resource_name("deposits", row.id), row.provider, line.tier.name)
    start = start_deposit_liquidity(given)
    await outbox.post(session, tables.Outbox, START, start.workflow_id, start.payload())


async def _created(session: AsyncSession, cause: Cause, created: chain.PolicyCreated) -> None:
    policy = created.policy
    entry = ledger.policy_created(cause, created.tier, policy.token, policy.premium, created.fee, policy.max_payout)
    if await _post(session, entry) is None:
        return
    await store_coverage.put_coverage(session, created)
    before = await store_coverage.end_reservation(session, created.policy_id, ReservationState.COMMITTED, "")
    if before not in (ReservationState.HELD, ReservationState.COMMITTED):
        await record_unknown(session, cause, f"POLICY_WITHOUT_RESERVATION: {before or 'none'}", b"")


async def _ended(session: AsyncSession, cause: Cause, ended: chain.PolicySettled | chain.PolicyExpired) -> None:
    coverage = await store_coverage.get_coverage(session, ended.policy_id)
    if coverage is None:
        raise UnexplainedEvent("POLICY_NOT_COVERED")
    tier, token = Tier(coverage.tier), Token(coverage.token)
    settled = isinstance(ended, chain.PolicySettled)
    payout = ended.payout if isinstance(ended, chain.PolicySettled) else 0
    if coverage.status != store_coverage.ACTIVE:
        if await store_journal.standing_entry(session, cause.key) is not None:
            return
        raise UnexplainedEvent("POLICY_ENDED_TWICE")
    if token != ended.token or coverage.max_payout != ended.max_payout:
        raise UnexplainedEvent("POLICY_TERMS_DIFFER")
    entry = (
        ledger.policy_settled(cause, tier, token, payout, coverage.max_payout)
        if settled
        else ledger.policy_expired(cause, tier, token, coverage.max_payout)
    )
    if await _post(session, entry) is None:
        return
    coverage.status, coverage.payout = "SETTLED" if settled else "EXPIRED", payout
    coverage.ended_burn_height = cause.burn_height
    session.add(coverage)


async def _withdrawal(session: AsyncSession, withdrawal_id: str) -> tables.Withdrawal:
    row = await store_positions.get_withdrawal(session, withdrawal_id, lock=True)
    if row is None:
        raise UnexplainedEvent("WITHDRAWAL_UNKNOWN")
    return row


async def _paid(session: AsyncSession, cause: Cause, paid: chain.VoucherPaid) -> None:
    row = await _withdrawal(session, paid.withdrawal_id)
    if row.state == WithdrawalState.PAID and await store_journal.standing_entry(session, cause.key) is not None:
        return
    if not may_become(WithdrawalState(row.state), WithdrawalState.PAID):
        raise UnexplainedEvent(f"WITHDRAWAL_{row.state}")
    if (paid.provider, paid.token, paid.amount) != (row.provider, Token(row.token), row.amount):
        raise UnexplainedEvent("WITHDRAWAL_TERMS_DIFFER")
    tier = Tier(row.tier)
    line = store_journal.Line(row.provider, WITHDRAWAL, tier, paid.token, paid.amount)
    if await _post(session, ledger.withdrawal_paid(cause, tier, paid.token, paid.amount), line) is None:
        return
    row.state, row.txid = WithdrawalState.PAID.value, cause.txid
    session.add(row)
    await _signal_ended(session, row)


async def lapse_vouchers(session: AsyncSession, burn_height: int, market_time: dt.datetime) -> None:
    """Ends the vouchers whose last height is final without their use."""
    for row in await store_positions.lapsed_vouchers(session, burn_height):
        subject = resource_name("withdrawals", row.id)
        cause = Cause(f"{subject}/lapse", burn_height, market_time, subject=subject)
        await end_voucher(session, row, cause, _LAPSED, market_time)


async def end_voucher(
    session: AsyncSession, row: tables.Withdrawal, cause: Cause, reason: str, market_time: dt.datetime
) -> None:
    """The amount of a voucher that can never be used re-enters, priced like a deposit that is final now."""
    if not may_become(WithdrawalState(row.state), WithdrawalState.LAPSED):
        raise UnexplainedEvent(f"WITHDRAWAL_{row.state}")
    tier, token = Tier(row.tier), Token(row.token)
    line = store_journal.Line(row.provider, VOUCHER_LAPSED, tier, token, row.amount)
    if await _post(session, ledger.voucher_ended(cause, tier, token, row.amount, reason), line) is None:
        return
    row.state, row.reason = WithdrawalState.LAPSED.value, reason
    session.add(row)
    await _add_deposit(session, f"{row.id}-0", line, cause, market_time, withdrawal_id=row.id)
    await _signal_ended(session, row)


async def _signal_ended(session: AsyncSession, row: tables.Withdrawal) -> None:
    given = WithdrawLiquidityInput(resource_name("withdrawals", row.id), row.provider, Tier(row.tier).name)
    workflow_id = start_withdraw_liquidity(given).workflow_id
    signal = Signal(workflow_id, SignalName.WITHDRAWAL_ENDED, row.state)
    await outbox.post(session, tables.Outbox, SIGNAL, workflow_id, signal.payload())


async def record_unknown(session: AsyncSession, cause: Cause, reason: str, event: bytes) -> None:
    """Keeps what the books cannot explain, for a person."""
    session.add(tables.UnknownEvent(cause=cause.unique, burn_height=cause.burn_height, reason=reason, event=event))
    await session.flush()

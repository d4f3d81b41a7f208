"""Withdrawals from request to payment, and the ways in which a voucher ends unused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from kernel.rpc.channels import remote_errors
from kernel.units import Token
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, amount_of, provider


async def _request(pool: RunningPool, shares: int, request_id: str = "w1", who: str = "SP-ALICE") -> pb.Withdrawal:
    request = pb.CreateWithdrawalRequest(
        request_id=request_id,
        tier=money_pb2.TIER_BALANCED,
        token=money_pb2.TOKEN_STX,
        shares=shares,
        public_key=b"\x02" * 33,
    )
    return (await pool.stub.CreateWithdrawal(request, metadata=provider(who))).withdrawal


async def _price(pool: RunningPool, withdrawal: pb.Withdrawal) -> pb.PriceWithdrawalResponse:
    await pool.gateway.pass_seconds(1)
    return await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=withdrawal.name), metadata=WORKFLOWS)


async def _record(pool: RunningPool, withdrawal: pb.Withdrawal) -> pb.Withdrawal:
    request = pb.RecordVoucherRequest(
        name=withdrawal.name,
        signature=b"s" * 65,
        prepared_transaction=transaction_pb2.PreparedTransaction(name="preparedTransactions/1"),
    )
    return (await pool.stub.RecordVoucher(request, metadata=WORKFLOWS)).withdrawal


async def _get(pool: RunningPool, withdrawal: pb.Withdrawal, who: Any = WORKFLOWS) -> pb.Withdrawal:
    return (await pool.stub.GetWithdrawal(pb.GetWithdrawalRequest(name=withdrawal.name), metadata=who)).withdrawal


def _paid(pool: RunningPool, withdrawal: pb.Withdrawal, amount: int) -> event_pb2.ChainEvent:
    paid = event_pb2.Withdrawn(
        withdrawal=withdrawal.name,
        provider_principal=withdrawal.provider_principal,
        amount=amount_of(Token.STX, amount),
    )
    return pool.gateway.event(withdrawal=paid)


async def test_a_withdrawal_is_priced_handed_over_and_paid(pool: RunningPool) -> None:
    """Shares are burned at a price later than the request; the payment closes books and workflow."""
    await pool.invest("SP-ALICE", 1_000_000)
    requested = await _request(pool, 400_000)
    with pytest.raises(Unavailable) as early, remote_errors():
        await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=requested.name), metadata=WORKFLOWS)
    priced = await _price(pool, requested)
    assert early.value.reason == "NO_PRICE_YET"
    assert priced == await _price(pool, requested)
    assert priced.withdrawal.amount_base_units == priced.voucher_terms.amount.base_units == 400_000
    assert priced.voucher_terms.expiration_burn_height == pool.gateway.burn_height + 36
    assert priced.public_key == b"\x02" * 33
    ready = await _record(pool, requested)
    assert ready.state == pb.WITHDRAWAL_STATE_READY
    assert ready.prepared_transaction.name == "preparedTransactions/1"
    await pool.final(_paid(pool, requested, 400_000))
    assert (await _get(pool, requested, provider("SP-ALICE"))).state == pb.WITHDRAWAL_STATE_PAID
    workflow_id = f"withdraw/{requested.name.rpartition('/')[2]}"
    signal = {"workflow_id": workflow_id, "signal": "withdrawal_ended", "argument": "PAID"}
    assert await pool.outbox("signal") == [signal]
    assert [start["workflow_id"] for start in await pool.outbox("start")][1:] == [workflow_id]
    assert (await pool.accounts())["vault_cash/STX"] == 600_000


async def test_a_request_is_made_once_and_only_for_free_shares(pool: RunningPool) -> None:
    """A repeat answers the first; another body is refused; shares already asked for are not free."""
    await pool.invest("SP-ALICE", 1_000_000)
    first = await _request(pool, 600_000)
    assert await _request(pool, 600_000) == first
    with pytest.raises(AlreadyExists), remote_errors():
        await _request(pool, 500_000)
    with pytest.raises(FailedPrecondition) as refused, remote_errors():
        await _request(pool, 400_001, "w2")
    assert (refused.value.reason, refused.value.metadata["available"]) == ("INSUFFICIENT_SHARES", "400000")
    with pytest.raises(NotFound), remote_errors():
        await _get(pool, first, provider("SP-BOB"))


async def test_capital_that_quotes_or_policies_count_on_cannot_leave(pool: RunningPool) -> None:
    """A withdrawal beyond free capital is refused with nothing moved; the shares are free again."""
    await pool.invest("SP-ALICE", 1_000_000_000)
    await pool.reserve(pool.terms(10_000_00))
    before = await pool.accounts()
    refused = await _price(pool, await _request(pool, 1_000_000_000))
    assert refused.withdrawal.state == pb.WITHDRAWAL_STATE_REFUSED
    assert refused.withdrawal.reason == "INSUFFICIENT_FREE_CAPITAL"
    assert await pool.accounts() == before
    assert (await _request(pool, 1_000_000_000, "w2")).state == pb.WITHDRAWAL_STATE_REQUESTED


async def test_a_voucher_that_lapses_re_enters_like_a_deposit(pool: RunningPool) -> None:
    """Only when its last height is final; the amount is priced again, and the workflow told."""
    await pool.invest("SP-ALICE", 1_000_000)
    withdrawal = await _request(pool, 400_000)
    priced = await _price(pool, withdrawal)
    await pool.final(blocks=36)
    assert (await _get(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_PRICED
    await pool.final()
    lapsed = await _get(pool, withdrawal)
    assert (lapsed.state, lapsed.reason) == (pb.WITHDRAWAL_STATE_LAPSED, "VOUCHER_LAPSED")
    assert (await _record(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_LAPSED
    name = f"deposits/{priced.voucher_terms.withdrawal.rpartition('/')[2]}-0"
    deposit = (await pool.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)).deposit
    assert (deposit.shares, deposit.amount.base_units) == (400_000, 400_000)
    assert (await pool.outbox("signal"))[0]["argument"] == "LAPSED"
    assert (await pool.accounts())["free_capital/BALANCED/STX"] == -1_000_000


async def test_a_delayed_voucher_waits_and_a_vetoed_one_ends_at_once(pool: RunningPool) -> None:
    """The vault's delay moves the lapse to a day after the ready height; a veto lets the amount re-enter."""
    await pool.invest("SP-ALICE", 1_000_000)
    withdrawal = await _request(pool, 400_000)
    await _price(pool, withdrawal)
    ready_height = pool.gateway.burn_height + 144
    delayed = event_pb2.WithdrawalDelayed(withdrawal=withdrawal.name, ready_burn_height=ready_height)
    await pool.final(pool.gateway.event(withdrawal_delayed=delayed))
    await pool.final(blocks=200)
    assert (await _get(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_PRICED
    await pool.final(pool.gateway.event(voucher_vetoed=event_pb2.VoucherVetoed(withdrawal=withdrawal.name)))
    vetoed = await _get(pool, withdrawal)
    assert (vetoed.state, vetoed.reason) == (pb.WITHDRAWAL_STATE_LAPSED, "VOUCHER_VETOED")
    assert (await pool.accounts())["deposits_unpriced/BALANCED/STX"] == -400_000


async def test_what_leaves_takes_neither_unearned_premium_nor_less_than_its_loss(pool: RunningPool) -> None:
    """A provider who leaves beside an open policy leaves its unearned premium, or its visible loss, behind."""
    await pool.invest("SP-ALICE", 10_000_000_000)
    await pool.invest("SP-BOB", 10_000_000_000)
    terms = pool.terms(1_000_000, premium_base_units=50_000_000)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    unearned = await _price(pool, await _request(pool, 2_000_000_000, "w1"))
    assert unearned.withdrawal.amount_base_units == 2_000_000_000
    await pool.final(blocks=50)
    half_earned = await _price(pool, await _request(pool, 3_000_000_000, "w2"))
    worth = 3_000_000_000 * (18_000_000_000 + 25_000_000 + 1_000) // (18_000_000_000 + 1_000)
    assert half_earned.withdrawal.amount_base_units == worth
    pool.oracle.btc_e8 = 90_000 * 10**8
    loss = 1_000_000 * 10_000 // (100 * 2)
    lost = await _price(pool, await _request(pool, 5_000_000_000, "w3"))
    capital = 20_000_000_000 + 50_000_000 - 2_000_000_000 - worth
    assert lost.withdrawal.amount_base_units == 5_000_000_000 * (capital - loss - 25_000_000) // 15_000_000_000


async def test_withdrawals_and_reservations_at_once_never_promise_the_same_capital(pool: RunningPool) -> None:
    """Ten of each race for capital that is enough for some: what is promised is there, to the last unit."""
    providers = [f"SP-{number}" for number in range(10)]
    for who in providers:
        await pool.invest(who, 1_000_000_000)
    requests = [await _request(pool, 1_000_000_000, who=who) for who in providers]
    await pool.gateway.pass_seconds(1)
    stub, name = pool.stub, pb.PriceWithdrawalRequest
    priced = (stub.PriceWithdrawal(name(name=request.name), metadata=WORKFLOWS) for request in requests)
    reserved = (pool.reserve(pool.terms(500_000)) for _ in range(10))
    await asyncio.gather(*priced, *reserved)
    capital = await pool.capital()
    accounts = await pool.accounts()
    assert -accounts["free_capital/BALANCED/STX"] >= capital.reserved_base_units >= 0
    assert capital.total_base_units - accounts["withdrawals_payable/BALANCED/STX"] == 10_000_000_000
    assert capital.reserved_base_units + -accounts["withdrawals_payable/BALANCED/STX"] > 0

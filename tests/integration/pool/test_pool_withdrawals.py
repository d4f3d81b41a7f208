"""Withdrawals from request to payment, and the ways in which a voucher ends unused."""

from __future__ import annotations

import asyncio

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, provider
from tests.integration.pool.withdrawal_words import get, paid, price, record, request


async def test_a_withdrawal_is_priced_handed_over_and_paid(pool: RunningPool) -> None:
    """Shares are burned at a price later than the request; the payment closes books and workflow."""
    await pool.invest("SP-ALICE", 1_000_000)
    requested = await request(pool, 400_000)
    with pytest.raises(Unavailable) as early, remote_errors():
        await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=requested.name), metadata=WORKFLOWS)
    priced = await price(pool, requested)
    assert early.value.reason == "NO_PRICE_YET"
    assert priced == await price(pool, requested)
    assert priced.withdrawal.amount_base_units == priced.voucher_terms.amount.base_units == 400_000
    assert priced.voucher_terms.expiration_burn_height == pool.gateway.burn_height + 36
    assert priced.public_key == b"\x02" * 33
    ready = await record(pool, requested)
    assert ready.state == pb.WITHDRAWAL_STATE_READY
    assert ready.prepared_transaction.name == "preparedTransactions/1"
    await pool.final(paid(pool, requested, 400_000))
    assert (await get(pool, requested, provider("SP-ALICE"))).state == pb.WITHDRAWAL_STATE_PAID
    workflow_id = f"withdraw/{requested.name.rpartition('/')[2]}"
    signal = {"workflow_id": workflow_id, "signal": "withdrawal_ended", "argument": "PAID"}
    assert await pool.outbox("signal") == [signal]
    assert [start["workflow_id"] for start in await pool.outbox("start")][1:] == [workflow_id]
    assert (await pool.accounts())["vault_cash/STX"] == 600_000


async def test_a_request_is_made_once_and_only_for_free_shares(pool: RunningPool) -> None:
    """A repeat answers the first; another body is refused; shares already asked for are not free."""
    await pool.invest("SP-ALICE", 1_000_000)
    first = await request(pool, 600_000)
    assert await request(pool, 600_000) == first
    with pytest.raises(AlreadyExists), remote_errors():
        await request(pool, 500_000)
    with pytest.raises(FailedPrecondition) as refused, remote_errors():
        await request(pool, 400_001, "w2")
    assert (refused.value.reason, refused.value.metadata["available"]) == ("INSUFFICIENT_SHARES", "400000")
    with pytest.raises(NotFound), remote_errors():
        await get(pool, first, provider("SP-BOB"))


async def test_a_voucher_that_lapses_re_enters_like_a_deposit(pool: RunningPool) -> None:
    """Only when its last height is final; the amount is priced again, and the workflow told."""
    await pool.invest("SP-ALICE", 1_000_000)
    withdrawal = await request(pool, 400_000)
    priced = await price(pool, withdrawal)
    await pool.final(blocks=36)
    assert (await get(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_PRICED
    await pool.final()
    lapsed = await get(pool, withdrawal)
    assert (lapsed.state, lapsed.reason) == (pb.WITHDRAWAL_STATE_LAPSED, "VOUCHER_LAPSED")
    assert (await record(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_LAPSED
    name = f"deposits/{priced.voucher_terms.withdrawal.rpartition('/')[2]}-0"
    await pool.gateway.pass_seconds(1)
    deposit = (await pool.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)).deposit
    assert (deposit.shares, deposit.amount.base_units) == (400_000, 400_000)
    assert (await pool.outbox("signal"))[0]["argument"] == "LAPSED"
    assert (await pool.accounts())["free_capital/BALANCED/STX"] == -1_000_000


async def test_a_delayed_voucher_waits_and_a_vetoed_one_ends_at_once(pool: RunningPool) -> None:
    """The vault's delay moves the lapse to a day after the ready height; a veto lets the amount re-enter."""
    await pool.invest("SP-ALICE", 1_000_000)
    withdrawal = await request(pool, 400_000)
    await price(pool, withdrawal)
    ready_height = pool.gateway.burn_height + 144
    delayed = event_pb2.WithdrawalDelayed(withdrawal=withdrawal.name, ready_burn_height=ready_height)
    await pool.final(pool.gateway.event(withdrawal_delayed=delayed))
    await pool.final(blocks=200)
    assert (await get(pool, withdrawal)).state == pb.WITHDRAWAL_STATE_PRICED
    await pool.final(pool.gateway.event(voucher_vetoed=event_pb2.VoucherVetoed(withdrawal=withdrawal.name)))
    vetoed = await get(pool, withdrawal)
    assert (vetoed.state, vetoed.reason) == (pb.WITHDRAWAL_STATE_LAPSED, "VOUCHER_VETOED")
    assert (await pool.accounts())["deposits_unpriced/BALANCED/STX"] == -400_000


async def test_what_leaves_takes_neither_unearned_premium_nor_less_than_its_loss(pool: RunningPool) -> None:
    """A provider who leaves beside an open policy leaves its unearned premium, or its visible loss, behind."""
    await pool.invest("SP-ALICE", 10_000_000_000)
    await pool.invest("SP-BOB", 10_000_000_000)
    terms = pool.terms(1_000_000, premium_base_units=50_000_000)
    await pool.reserve(terms)
    await pool.final(pool.created(terms, 1))
    unearned = await price(pool, await request(pool, 2_000_000_000, "w1"))
    assert unearned.withdrawal.amount_base_units == 2_000_000_000
    await pool.final(blocks=50)
    half_earned = await price(pool, await request(pool, 3_000_000_000, "w2"))
    worth = 3_000_000_000 * (18_000_000_000 + 25_000_000 + 1_000) // (18_000_000_000 + 1_000)
    assert half_earned.withdrawal.amount_base_units == worth
    pool.oracle.btc_e8 = 90_000 * 10**8
    loss = 1_000_000 * 10_000 // (100 * 2)
    lost = await price(pool, await request(pool, 5_000_000_000, "w3"))
    capital = 20_000_000_000 + 50_000_000 - 2_000_000_000 - worth
    assert lost.withdrawal.amount_base_units == 5_000_000_000 * (capital - loss - 25_000_000) // 15_000_000_000


async def test_withdrawals_and_reservations_at_once_never_promise_the_same_capital(pool: RunningPool) -> None:
    """Ten of each race for capital that is enough for some: what is promised is there, to the last unit."""
    providers = [f"SP-{number}" for number in range(10)]
    for who in providers:
        await pool.invest(who, 1_000_000_000)
    requests = [await request(pool, 1_000_000_000, who=who) for who in providers]
    await pool.gateway.pass_seconds(1)
    stub, name = pool.stub, pb.PriceWithdrawalRequest
    priced = (stub.PriceWithdrawal(name(name=asked.name), metadata=WORKFLOWS) for asked in requests)
    reserved = (pool.reserve(pool.terms(500_000)) for _ in range(10))
    await asyncio.gather(*priced, *reserved, return_exceptions=True)
    capital = await pool.capital()
    accounts = await pool.accounts()
    assert -accounts["free_capital/BALANCED/STX"] >= capital.reserved_base_units >= 0
    assert capital.total_base_units - accounts["withdrawals_payable/BALANCED/STX"] == 10_000_000_000
    assert capital.reserved_base_units + -accounts["withdrawals_payable/BALANCED/STX"] > 0

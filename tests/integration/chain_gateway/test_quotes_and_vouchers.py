"""Quotes and vouchers: signed once per id, and taken by the real contracts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from kernel.ids import new_id
from tests.integration.chain_gateway.wallets import created_policy, deposited, provider, reason, sign, submit
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World, running_gateway


async def test_one_set_of_terms_per_policy_is_signed(world: World, gateway: RunningGateway) -> None:
    """The same terms again give the same signature; other terms for the policy are ALREADY_EXISTS."""
    terms = world.terms((await gateway.tip()).burn_height)
    request = pb.SignQuoteRequest(terms=terms)
    answers = await asyncio.gather(*(gateway.stub.SignQuote(request, metadata=SERVICE) for _ in range(10)))
    assert len({answer.signature for answer in answers}) == 1
    request.terms.premium_base_units += 1
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.SignQuote(request, metadata=SERVICE)
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tier": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"token": 3}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"floor_price_usd_e8": 48_000 * USD}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"holder_principal": "SP000000000000000000002Q6VF78"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"policy": "policies/1"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"premium_base_units": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"quote_expiration_burn_height": 10**6}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            {"quote_burn_height": 10**6, "quote_expiration_burn_height": 10**6, "expiration_burn_height": 10**7},
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
    ],
)
async def test_senseless_quotes_are_not_signed(
    world: World, gateway: RunningGateway, changes: dict[str, Any], code: grpc.StatusCode
) -> None:
    """The key signs nothing that could never be a fair quote, or is out of its time."""
    terms = world.terms((await gateway.tip()).burn_height, **changes)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.SignQuote(pb.SignQuoteRequest(terms=terms), metadata=SERVICE)
    assert error.value.code() is code


async def test_what_was_signed_is_listed(world: World, gateway: RunningGateway) -> None:
    """Page by page every quote with its terms and signature, in the order of ids; a foreign token is refused."""
    height = (await gateway.tip()).burn_height
    signed = {}
    for _ in range(3):
        terms = world.terms(height)
        signature = (await gateway.stub.SignQuote(pb.SignQuoteRequest(terms=terms), metadata=SERVICE)).signature
        signed[terms.policy] = (terms, signature)
    found: list[pb.SignedQuote] = []
    request = pb.ListSignedQuotesRequest(page_size=2)
    while not found or request.page_token:
        page = await gateway.stub.ListSignedQuotes(request, metadata=SERVICE)
        found += page.signed_quotes
        request.page_token = page.next_page_token
    assert [one.terms.policy for one in found] == sorted(one.terms.policy for one in found)
    assert {one.terms.policy: (one.terms, one.signature) for one in found if one.terms.policy in signed} == signed
    for method, kind in (
        ("ListSignedQuotes", pb.ListSignedQuotesRequest),
        ("ListSignedVouchers", pb.ListSignedVouchersRequest),
        ("ListSettlementIntents", pb.ListSettlementIntentsRequest),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await getattr(gateway.stub, method)(kind(page_token="7"), metadata=SERVICE)
        assert reason(error.value) == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("token", [money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC])
async def test_a_policy_is_created_and_settled(world: World, gateway: RunningGateway, token: int) -> None:
    """Quote, payment, settlement by intent: the real contracts take every signature and post-condition of ours."""
    terms, tip = await created_policy(world, gateway, token)
    pages = await gateway.events(
        pb.EVENT_FINALITY_TIP,
        lambda pages: any(e.policy_created.terms.policy == terms.policy for p in pages for e in p.events),
    )
    created = next(e.policy_created for p in pages for e in p.events if e.policy_created.terms.policy == terms.policy)
    assert created.terms == terms
    assert [e.backend_fee_ustx for p in pages for e in p.events if e.HasField("policy_created")][-1] == 0
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 46_000 * USD)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    call = pb.SettlePolicyCall(
        onchain_id=created.onchain_id,
        receipt=world.receipt(terms.policy, tip.burn_height, 46_000 * USD, USD),
        btc_round=world.rounds[price_pb2.FEED_BTC_USD],
        stx_round=world.rounds[price_pb2.FEED_STX_USD],
        max_payout=money_pb2.TokenAmount(
            token=money_pb2.Token.ValueType(token), base_units=created.max_payout_base_units
        ),
    )
    intent = await gateway.create_intent(f"settle/{new_id()}", pb.ContractCall(settle_policy=call))
    listed = await gateway.stub.ListSettlementIntents(pb.ListSettlementIntentsRequest(page_size=2000), metadata=SERVICE)
    assert [(one.name, one.key, one.call) for one in listed.settlement_intents][-1] == (intent.name, intent.key, call)
    await gateway.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
    await world.devnet.mine_burn_blocks(1)
    done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (done.state, done.contract_error) == (pb.INTENT_STATE_CONFIRMED, 0), done
    final = await gateway.events(
        pb.EVENT_FINALITY_FINAL,
        lambda pages: any(e.policy_settled.policy == terms.policy for p in pages for e in p.events),
    )
    settled = next(e.policy_settled for p in final for e in p.events if e.policy_settled.policy == terms.policy)
    assert 0 < settled.payout.base_units < settled.max_payout_base_units == created.max_payout_base_units
    await _check_snapshot(gateway, created, settled)
    await _check_done_already(gateway, world, call)


async def _check_done_already(gateway: RunningGateway, world: World, call: pb.SettlePolicyCall) -> None:
    """The policy has ended finally: settling it again, and expiring it, is confirmed without a transaction."""
    expiry = world.expiry_receipt(call.receipt.burn_height, 46_000 * USD, USD)
    expiring = pb.ExpirePoliciesCall(onchain_ids=[call.onchain_id], receipt=expiry, max_payouts=[call.max_payout])
    for again in (pb.ContractCall(settle_policy=call), pb.ContractCall(expire_policies=expiring)):
        intent = await gateway.create_intent(f"again/{new_id()}", again)
        done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
        assert (done.state, done.reason) == (pb.INTENT_STATE_CONFIRMED, "EFFECT_BY_OTHERS"), done
        assert not done.transactions


async def _check_snapshot(gateway: RunningGateway, created: Any, settled: Any) -> None:
    answer = await gateway.stub.GetContractSnapshot(pb.GetContractSnapshotRequest(page_size=1), metadata=SERVICE)
    while answer.policies[0].onchain_id != created.onchain_id:
        request = pb.GetContractSnapshotRequest(
            after_onchain_id=answer.next_after_onchain_id, page_size=1, block_hash=answer.block_hash
        )
        answer = await gateway.stub.GetContractSnapshot(request, metadata=SERVICE)
    policy = answer.policies[0]
    assert (policy.status, policy.payout_base_units) == (1, settled.payout.base_units)
    assert policy.terms == created.terms
    assert (policy.created_burn_height, policy.grace_blocks) == (created.created_burn_height, created.grace_blocks)
    for balance in answer.balances:
        assert balance.locked_base_units <= balance.accounted_base_units - balance.fees_base_units
        assert balance.accounted_base_units <= balance.actual_base_units


async def test_a_voucher_pays_the_provider(world: World, gateway: RunningGateway) -> None:
    """Voucher signed here, withdrawal prepared here, signed by the outside wallet, paid by the vault."""
    await deposited(world, gateway)
    tip = await gateway.caught_up(world)
    terms = pb.VoucherTerms(
        withdrawal=f"withdrawals/{new_id()}",
        provider_principal=world.provider.address,
        amount=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=1_000_000),
        expiration_burn_height=tip.burn_height + 12,
        tier=money_pb2.TIER_AGGRESSIVE,
    )
    signature = (await gateway.stub.SignVoucher(pb.SignVoucherRequest(terms=terms), metadata=SERVICE)).signature
    kept = await gateway.stub.ListSignedVouchers(pb.ListSignedVouchersRequest(), metadata=SERVICE)
    assert (terms, signature) in [(one.terms, one.signature) for one in kept.signed_vouchers]
    request = pb.PrepareTransactionRequest(
        request_id=new_id(), withdraw=pb.WithdrawCall(terms=terms, signature=signature)
    )
    prepared = (await gateway.stub.PrepareTransaction(request, metadata=provider(world))).prepared_transaction
    raw = await sign(world, "provider", prepared)
    sent = await submit(gateway, prepared, raw, provider(world))
    assert await world.mined(sent.txid) == "success"
    pages = await gateway.events(
        pb.EVENT_FINALITY_TIP, lambda pages: any(e.txid == sent.txid for p in pages for e in p.events)
    )
    event = next(e for p in pages for e in p.events if e.txid == sent.txid)
    assert event.withdrawal.withdrawal == terms.withdrawal
    request.withdraw.signature = bytes(64) + b"\1"
    request.request_id = new_id()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=provider(world))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_terms_beyond_the_signing_policy_are_not_signed(world: World, database_url: str, tmp_path: Path) -> None:
    """A quote and a voucher above the policy's file are FAILED_PRECONDITION with its reason; within it, signed."""
    policy = tmp_path / "policy.toml"
    small = "most_per_minute = 10\nmost = { ustx = 1000 }\nmost_per_day = { ustx = 1000 }\n"
    policy.write_text(f"[quote]\n{small}[voucher]\n{small}")
    async with running_gateway(world.settings(database_url, signing_policy_file=str(policy))) as gateway:
        height = (await gateway.caught_up(world)).burn_height
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await gateway.stub.SignQuote(pb.SignQuoteRequest(terms=world.terms(height)), metadata=SERVICE)
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason(error.value) == "VALUE_TOO_LARGE"
        for amount, expected in ((1_001, "VALUE_TOO_LARGE"), (600, ""), (600, "DAY_VALUE_USED_UP")):
            terms = pb.VoucherTerms(
                withdrawal=f"withdrawals/{new_id()}",
                provider_principal=world.provider.address,
                amount=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=amount),
                expiration_burn_height=height + 100,
            )
            assert await _voucher_reason(gateway, terms) == expected


async def _voucher_reason(gateway: RunningGateway, terms: pb.VoucherTerms) -> str:
    try:
        await gateway.stub.SignVoucher(pb.SignVoucherRequest(terms=terms), metadata=SERVICE)
    except grpc.aio.AioRpcError as error:
        return reason(error)
    return ""

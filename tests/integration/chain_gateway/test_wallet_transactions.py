"""What users sign: quotes and vouchers, prepared transactions, and what comes back from wallets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.rpc import error_details_pb2, status_pb2

from kernel.ids import new_id
from kernel.rpc.caller import Role
from services.chain_gateway.stacks.post_condition import PostConditionMode
from services.chain_gateway.stacks.spending import SingleSigCondition
from services.chain_gateway.stacks.transaction import (
    MAINNET,
    Network,
    Transaction,
    TransactionVersion,
    deserialize_transaction,
    serialize_transaction,
)
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World
from tests.tokens import metadata


def _reason(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


def _deposit(amount: int = 1_000_000_000_000, token: int = money_pb2.TOKEN_STX) -> pb.DepositCall:
    money = money_pb2.TokenAmount(token=money_pb2.Token.ValueType(token), base_units=amount)
    return pb.DepositCall(amount=money, tier=money_pb2.TIER_BALANCED)


async def _prepare_deposit(
    world: World, gateway: RunningGateway, **changes: Any
) -> transaction_pb2.PreparedTransaction:
    request = pb.PrepareTransactionRequest(
        request_id=new_id(),
        public_key=bytes.fromhex(world.provider.public_key),
        deposit=_deposit(**changes),
    )
    answer = await gateway.stub.PrepareTransaction(request, metadata=_provider(world))
    return answer.prepared_transaction


def _provider(world: World) -> tuple[tuple[str, str], ...]:
    return metadata(world.provider.address, Role.PROVIDER)


async def _sign(world: World, seed: str, prepared: transaction_pb2.PreparedTransaction, **changes: Any) -> bytes:
    """What the outside wallet makes of a prepared transaction."""
    options = {
        "post_conditions": [one.hex() for one in prepared.post_conditions],
        "nonce": prepared.suggested_nonce,
        "fee": prepared.suggested_fee_ustx,
    } | changes
    arguments = [one.hex() for one in prepared.arguments]
    signed = await world.wallet.call(seed, prepared.contract, prepared.function, arguments, **options)
    return bytes.fromhex(signed.raw)


async def _submit(
    gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction, raw: bytes, caller: Any
) -> pb.Transaction:
    request = pb.SubmitSignedTransactionRequest(prepared_transaction=prepared.name, signed_transaction=raw)
    return (await gateway.stub.SubmitSignedTransaction(request, metadata=caller)).transaction


async def _deposited(world: World, gateway: RunningGateway, token: int = money_pb2.TOKEN_STX) -> pb.Transaction:
    prepared = await _prepare_deposit(world, gateway, token=token, amount=10**12 if token == 1 else 10**9)
    raw = await _sign(world, "provider", prepared)
    sent = await _submit(gateway, prepared, raw, _provider(world))
    assert await world.mined(sent.txid) == "success"
    return sent


async def test_a_deposit_goes_through_the_outside_wallet(world: World, gateway: RunningGateway) -> None:
    """Prepared here, signed by the Stacks libraries, submitted here: mined, told as an event, final later."""
    for token in (money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC):
        sent = await _deposited(world, gateway, token)
        pages = await gateway.events(
            pb.EVENT_FINALITY_TIP, lambda pages, txid=sent.txid: any(e.txid == txid for p in pages for e in p.events)
        )
        event = next(e for p in pages for e in p.events if e.txid == sent.txid)
        assert event.deposited.provider_principal == world.provider.address
        assert event.deposited.amount.token == token
    await world.devnet.mine_burn_blocks(1)
    async with asyncio.timeout(10):
        while True:
            seen = (await gateway.stub.GetTransaction(pb.GetTransactionRequest(txid=sent.txid))).transaction
            if seen.state == pb.TRANSACTION_STATE_CONFIRMED:
                break
            await asyncio.sleep(0.02)
    assert seen.result == "(ok true)"


async def test_unsigned_bytes_are_what_the_wallet_signs(world: World, gateway: RunningGateway) -> None:
    """With the public key known, the unsigned bytes differ from the wallet's signed ones in the signature alone."""
    prepared = await _prepare_deposit(world, gateway)
    unsigned = deserialize_transaction(prepared.unsigned_transaction)
    signed = deserialize_transaction(await _sign(world, "provider", prepared))
    assert isinstance(unsigned.origin, SingleSigCondition)
    assert isinstance(signed.origin, SingleSigCondition)
    assert replace(signed, origin=replace(signed.origin, signature=unsigned.origin.signature)) == unsigned


async def test_a_repeated_request_answers_the_same(world: World, gateway: RunningGateway) -> None:
    """The same request id gives the same prepared transaction; with another body it is refused."""
    request = pb.PrepareTransactionRequest(request_id=new_id(), deposit=_deposit())
    first = await gateway.stub.PrepareTransaction(request, metadata=_provider(world))
    assert first == await gateway.stub.PrepareTransaction(request, metadata=_provider(world))
    request.deposit.amount.base_units += 1
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=_provider(world))
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS


def _with(raw: bytes, **changes: Any) -> bytes:
    return serialize_transaction(replace(deserialize_transaction(raw), **changes))


def _tampered(raw: bytes) -> bytes:
    """The signature moved to a transaction with another nonce, which it does not cover."""
    transaction: Transaction = deserialize_transaction(raw)
    assert isinstance(transaction.origin, SingleSigCondition)
    return _with(raw, origin=replace(transaction.origin, nonce=transaction.origin.nonce + 1))


async def test_whatever_differs_from_what_was_prepared_is_refused(world: World, gateway: RunningGateway) -> None:
    """Each kind of difference has its own reason, and nothing is broadcast."""
    prepared = await _prepare_deposit(world, gateway)
    other = await _prepare_deposit(world, gateway, amount=7)
    good = await _sign(world, "provider", prepared)
    nonces = await world.devnet.get(f"/extended/v1/address/{world.provider.address}/nonces")
    cases = {
        "MALFORMED_TRANSACTION": [b"", good[:-1], good + b"\0", b"\xff" * 300],
        "WRONG_NETWORK": [_with(good, network=MAINNET)],
        "WRONG_CHAIN_ID": [
            _with(good, network=Network(TransactionVersion.TESTNET, 1)),
            await _sign(world, "provider", prepared, chain_id=0x80000001),
        ],
        "INVALID_SIGNATURE": [_tampered(good)],
        "WRONG_SENDER": [await _sign(world, "holder", prepared)],
        "ARGUMENTS_MISMATCH": [await _sign(world, "provider", other)],
        "POST_CONDITIONS_MISMATCH": [await _sign(world, "provider", prepared, post_conditions=[])],
        "POST_CONDITION_MODE_MISMATCH": [
            await _sign(world, "provider", prepared, post_condition_mode="allow"),
            _with(good, post_condition_mode=PostConditionMode.ALLOW),
        ],
        "FEE_OUT_OF_BOUNDS": [await _sign(world, "provider", prepared, fee=10**9)],
    }
    for reason, attempts in cases.items():
        for raw in attempts:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await _submit(gateway, prepared, raw, _provider(world))
            assert (error.value.code(), _reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert await world.devnet.get(f"/extended/v1/address/{world.provider.address}/nonces") == nonces


async def test_a_holder_reaches_only_their_own(world: World, gateway: RunningGateway) -> None:
    """Another principal may be named by services only, and prepared transactions are their principal's."""
    request = pb.PrepareTransactionRequest(request_id=new_id(), principal=world.provider.address, deposit=_deposit())
    stranger = metadata(world.holder.address, Role.HOLDER)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=stranger)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    answer = await gateway.stub.PrepareTransaction(request, metadata=SERVICE)
    raw = await _sign(world, "provider", answer.prepared_transaction)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await _submit(gateway, answer.prepared_transaction, raw, stranger)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_refused_broadcast_says_why(world: World, gateway: RunningGateway) -> None:
    """A nonce that is used is FAILED_PRECONDITION with the node's reason."""
    await _deposited(world, gateway)
    prepared = await _prepare_deposit(world, gateway, amount=12_345)
    raw = await _sign(world, "provider", prepared, nonce=0)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await _submit(gateway, prepared, raw, _provider(world))
    assert (error.value.code(), _reason(error.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "BROADCAST_REJECTED")


async def test_a_transaction_that_was_mined_before_it_was_submitted(world: World, gateway: RunningGateway) -> None:
    """A wallet that broadcast by itself first: the submission is answered with the mined transaction."""
    prepared = await _prepare_deposit(world, gateway, amount=54_321)
    raw = await _sign(world, "provider", prepared)
    txid = await world.wallet.broadcast(raw.hex())
    assert await world.mined(txid) == "success"
    clock = await world.devnet.mine_burn_blocks(2)
    await gateway.tip(clock.burn_height)
    sent = await _submit(gateway, prepared, raw, _provider(world))
    assert (sent.txid, sent.state, sent.result) == (txid, pb.TRANSACTION_STATE_CONFIRMED, "(ok true)")


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


async def _created(world: World, gateway: RunningGateway, token: int) -> tuple[transaction_pb2.QuoteTerms, pb.Tip]:
    """A policy, paid by the outside wallet on a quote signed by the gateway."""
    await world.devnet.mine_burn_blocks(1)
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_000 * USD)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    await _deposited(world, gateway, token)
    tip = await gateway.tip((await world.devnet.clock()).burn_height)
    terms = world.terms(tip.burn_height)
    if token == money_pb2.TOKEN_SBTC:
        terms.token, terms.stx_price_usd_e8 = token, 0
        terms.premium_base_units, terms.fee_base_units = 10_000, 50
    signature = (await gateway.stub.SignQuote(pb.SignQuoteRequest(terms=terms), metadata=SERVICE)).signature
    request = pb.PrepareTransactionRequest(
        request_id=new_id(), create_policy=pb.CreatePolicyCall(terms=terms, signature=signature)
    )
    holder = metadata(world.holder.address, Role.HOLDER)
    prepared = (await gateway.stub.PrepareTransaction(request, metadata=holder)).prepared_transaction
    sent = await _submit(gateway, prepared, await _sign(world, "holder", prepared), holder)
    assert await world.mined(sent.txid) == "success"
    return terms, tip


@pytest.mark.parametrize("token", [money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC])
async def test_a_policy_is_created_and_settled(world: World, gateway: RunningGateway, token: int) -> None:
    """Quote, payment, settlement by intent: the real contracts take every signature and post-condition of ours."""
    terms, tip = await _created(world, gateway, token)
    pages = await gateway.events(
        pb.EVENT_FINALITY_TIP,
        lambda pages: any(e.policy_created.terms.policy == terms.policy for p in pages for e in p.events),
    )
    created = next(e.policy_created for p in pages for e in p.events if e.policy_created.terms.policy == terms.policy)
    assert created.terms == terms
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
    await _check_snapshot(gateway, created.onchain_id, settled)


async def _check_snapshot(gateway: RunningGateway, onchain_id: int, settled: Any) -> None:
    answer = await gateway.stub.GetContractSnapshot(pb.GetContractSnapshotRequest(page_size=1), metadata=SERVICE)
    while answer.policies[0].onchain_id != onchain_id:
        request = pb.GetContractSnapshotRequest(
            after_onchain_id=answer.next_after_onchain_id, page_size=1, block_hash=answer.block_hash
        )
        answer = await gateway.stub.GetContractSnapshot(request, metadata=SERVICE)
    policy = answer.policies[0]
    assert (policy.status, policy.payout_base_units) == (1, settled.payout.base_units)
    for balance in answer.balances:
        assert balance.locked_base_units <= balance.accounted_base_units - balance.fees_base_units
        assert balance.accounted_base_units <= balance.actual_base_units


async def test_a_voucher_pays_the_provider(world: World, gateway: RunningGateway) -> None:
    """Voucher signed here, withdrawal prepared here, signed by the outside wallet, paid by the vault."""
    await _deposited(world, gateway)
    tip = await gateway.tip((await world.devnet.clock()).burn_height)
    terms = pb.VoucherTerms(
        withdrawal=f"withdrawals/{new_id()}",
        provider_principal=world.provider.address,
        amount=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=1_000_000),
        expiration_burn_height=tip.burn_height + 12,
    )
    signature = (await gateway.stub.SignVoucher(pb.SignVoucherRequest(terms=terms), metadata=SERVICE)).signature
    request = pb.PrepareTransactionRequest(
        request_id=new_id(), withdraw=pb.WithdrawCall(terms=terms, signature=signature)
    )
    prepared = (await gateway.stub.PrepareTransaction(request, metadata=_provider(world))).prepared_transaction
    raw = await _sign(world, "provider", prepared)
    sent = await _submit(gateway, prepared, raw, _provider(world))
    assert await world.mined(sent.txid) == "success"
    pages = await gateway.events(
        pb.EVENT_FINALITY_TIP, lambda pages: any(e.txid == sent.txid for p in pages for e in p.events)
    )
    event = next(e for p in pages for e in p.events if e.txid == sent.txid)
    assert event.withdrawal.withdrawal == terms.withdrawal
    request.withdraw.signature = bytes(64) + b"\1"
    request.request_id = new_id()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=_provider(world))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT

"""Prepared transactions, and what comes back from wallets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.ids import new_id
from kernel.rpc.caller import Role
from services.chain_gateway.stacks.clarity import parse_principal
from services.chain_gateway.stacks.payload import ContractCall, TokenTransfer
from services.chain_gateway.stacks.post_condition import PostConditionMode
from services.chain_gateway.stacks.spending import SingleSigCondition
from services.chain_gateway.stacks.transaction import (
    MAINNET,
    Network,
    Transaction,
    TransactionVersion,
    deserialize_transaction,
    pending_sponsor,
    serialize_transaction,
)
from tests.integration.chain_gateway.wallets import deposit, deposited, prepare_deposit, provider, reason, sign, submit
from tests.integration.chain_gateway.world import SERVICE, RunningGateway, World
from tests.tokens import metadata


async def test_a_deposit_goes_through_the_outside_wallet(world: World, gateway: RunningGateway) -> None:
    """Prepared here, signed by the Stacks libraries, submitted here: mined, told as an event, final later."""
    for token in (money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC):
        sent = await deposited(world, gateway, token)
        pages = await gateway.events(
            pb.EVENT_FINALITY_TIP, lambda pages, txid=sent.txid: any(e.txid == txid for p in pages for e in p.events)
        )
        event = next(e for p in pages for e in p.events if e.txid == sent.txid)
        assert event.deposited.provider_principal == world.provider.address
        assert event.deposited.amount.token == token
    await world.devnet.mine_burn_blocks(1)
    async with asyncio.timeout(60):
        while True:
            seen = (await gateway.stub.GetTransaction(pb.GetTransactionRequest(txid=sent.txid))).transaction
            if seen.state == pb.TRANSACTION_STATE_CONFIRMED:
                break
            await asyncio.sleep(0.02)
    assert seen.result == "(ok true)"


async def test_unsigned_bytes_are_what_the_wallet_signs(world: World, gateway: RunningGateway) -> None:
    """With the public key known, the unsigned bytes differ from the wallet's signed ones in the signature alone."""
    prepared = await prepare_deposit(world, gateway)
    unsigned = deserialize_transaction(prepared.unsigned_transaction)
    signed = deserialize_transaction(await sign(world, "provider", prepared))
    assert isinstance(unsigned.origin, SingleSigCondition)
    assert isinstance(signed.origin, SingleSigCondition)
    assert replace(signed, origin=replace(signed.origin, signature=unsigned.origin.signature)) == unsigned


async def test_a_repeated_request_answers_the_same(world: World, gateway: RunningGateway) -> None:
    """The same request id gives the same prepared transaction; with another body it is refused."""
    request = pb.PrepareTransactionRequest(request_id=new_id(), deposit=deposit())
    first = await gateway.stub.PrepareTransaction(request, metadata=provider(world))
    assert first == await gateway.stub.PrepareTransaction(request, metadata=provider(world))
    request.deposit.amount.base_units += 1
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=provider(world))
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS


def _with(raw: bytes, **changes: Any) -> bytes:
    return serialize_transaction(replace(deserialize_transaction(raw), **changes))


_TRANSFER = TokenTransfer(parse_principal("ST000000000000000000002AMW42H"), 1)


def _calling(raw: bytes, **changes: Any) -> bytes:
    payload = deserialize_transaction(raw).payload
    assert isinstance(payload, ContractCall)
    return _with(raw, payload=replace(payload, **changes))


def _tampered(raw: bytes) -> bytes:
    """The signature moved to a transaction with another nonce, which it does not cover."""
    transaction: Transaction = deserialize_transaction(raw)
    assert isinstance(transaction.origin, SingleSigCondition)
    return _with(raw, origin=replace(transaction.origin, nonce=transaction.origin.nonce + 1))


async def test_whatever_differs_from_what_was_prepared_is_refused(world: World, gateway: RunningGateway) -> None:
    """Each kind of difference has its own reason, and nothing is broadcast."""
    prepared = await prepare_deposit(world, gateway)
    other = await prepare_deposit(world, gateway, amount=7)
    good = await sign(world, "provider", prepared)
    nonces = await world.devnet.get(f"/extended/v1/address/{world.provider.address}/nonces")
    cases = {
        "MALFORMED_TRANSACTION": [b"", good[:-1], good + b"\0", b"\xff" * 300],
        "WRONG_NETWORK": [_with(good, network=MAINNET)],
        "WRONG_CHAIN_ID": [
            _with(good, network=Network(TransactionVersion.TESTNET, 1)),
            await sign(world, "provider", prepared, chain_id=0x80000001),
        ],
        "INVALID_SIGNATURE": [_tampered(good)],
        "WRONG_SENDER": [await sign(world, "holder", prepared)],
        "CONTRACT_MISMATCH": [_calling(good, contract_name="another"), _with(good, payload=_TRANSFER)],
        "FUNCTION_MISMATCH": [_calling(good, function_name="another")],
        "SPONSORED_TRANSACTION": [_with(good, sponsor=pending_sponsor())],
        "ARGUMENTS_MISMATCH": [await sign(world, "provider", other)],
        "POST_CONDITIONS_MISMATCH": [await sign(world, "provider", prepared, post_conditions=[])],
        "POST_CONDITION_MODE_MISMATCH": [
            await sign(world, "provider", prepared, post_condition_mode="allow"),
            _with(good, post_condition_mode=PostConditionMode.ALLOW),
        ],
        "FEE_OUT_OF_BOUNDS": [await sign(world, "provider", prepared, fee=10**9)],
        "NONCE_OUT_OF_BOUNDS": [await sign(world, "provider", prepared, nonce=2**63)],
    }
    for expected, attempts in cases.items():
        for raw in attempts:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await submit(gateway, prepared, raw, provider(world))
            assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
    assert await world.devnet.get(f"/extended/v1/address/{world.provider.address}/nonces") == nonces


async def test_a_holder_reaches_only_their_own(world: World, gateway: RunningGateway) -> None:
    """Another principal may be named by services only, and prepared transactions are their principal's."""
    request = pb.PrepareTransactionRequest(request_id=new_id(), principal=world.provider.address, deposit=deposit())
    stranger = metadata(world.holder.address, Role.HOLDER)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(request, metadata=stranger)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    answer = await gateway.stub.PrepareTransaction(request, metadata=SERVICE)
    raw = await sign(world, "provider", answer.prepared_transaction)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await submit(gateway, answer.prepared_transaction, raw, stranger)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    answer.prepared_transaction.name = f"preparedTransactions/{new_id()}"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await submit(gateway, answer.prepared_transaction, raw, stranger)
    assert reason(error.value) == "UNKNOWN_PREPARED_TRANSACTION"


async def test_a_refused_broadcast_says_why(world: World, gateway: RunningGateway) -> None:
    """A nonce that is used is FAILED_PRECONDITION with the node's reason."""
    await deposited(world, gateway)
    prepared = await prepare_deposit(world, gateway, amount=12_345)
    raw = await sign(world, "provider", prepared, nonce=0)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await submit(gateway, prepared, raw, provider(world))
    assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "BROADCAST_REJECTED")


async def test_a_transaction_that_was_mined_before_it_was_submitted(world: World, gateway: RunningGateway) -> None:
    """A wallet that broadcast by itself first: the submission is answered with the mined transaction."""
    prepared = await prepare_deposit(world, gateway, amount=54_321)
    raw = await sign(world, "provider", prepared)
    txid = await world.wallet.broadcast(raw.hex())
    assert await world.mined(txid) == "success"
    clock = await world.devnet.mine_burn_blocks(2)
    await gateway.tip(clock.burn_height)
    sent = await submit(gateway, prepared, raw, provider(world))
    assert (sent.txid, sent.state, sent.result) == (txid, pb.TRANSACTION_STATE_CONFIRMED, "(ok true)")

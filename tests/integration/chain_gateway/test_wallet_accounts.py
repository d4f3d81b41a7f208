"""Accounts of several keys, and what a holder does alone: prepared here, signed, taken by the real contracts."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from kernel.ids import new_id
from kernel.rpc.caller import Role
from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import HashMode, MultiSigCondition, signer_hash
from services.chain_gateway.stacks.transaction import deserialize_transaction, serialize_transaction
from services.chain_gateway.stacks.transaction_signing import sign_multisig
from tests.integration.chain_gateway.wallets import created_policy, deposit, reason, sign, submit
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World
from tests.tokens import metadata

_OWNERS = [KeySigner(bytes([number]) * 32 + b"\x01") for number in (21, 22, 23)]
_KEYS = [owner.public_key for owner in _OWNERS]
_ACCOUNT = Address(AddressVersion.TESTNET_MULTI_SIG, signer_hash(HashMode.P2SH, _KEYS, 2)).text


def _request(**changes: object) -> pb.PrepareTransactionRequest:
    request = pb.PrepareTransactionRequest(request_id=new_id(), principal=_ACCOUNT, deposit=deposit(10**9))
    request.shared_account.public_keys.extend(_KEYS)
    request.shared_account.threshold, request.shared_account.mode = 2, pb.SHARED_ACCOUNT_MODE_P2SH
    for name, value in changes.items():
        if name == "public_keys":
            del request.shared_account.public_keys[:]
            request.shared_account.public_keys.extend(value)  # type: ignore[arg-type]
        else:
            setattr(request.shared_account, name, value)
    return request


async def test_several_owners_sign_a_deposit(world: World, gateway: RunningGateway) -> None:
    """Proves a shared account's way: unsigned bytes by its keys, two owners sign, fewer or others are refused."""
    await world.devnet.wait_for(await world.devnet.faucet_stx(_ACCOUNT, 10**12))
    prepared = (await gateway.stub.PrepareTransaction(_request(), metadata=SERVICE)).prepared_transaction
    assert prepared.principal == _ACCOUNT
    unsigned = deserialize_transaction(prepared.unsigned_transaction)
    assert isinstance(unsigned.origin, MultiSigCondition)
    signed = sign_multisig(unsigned, _KEYS, [_OWNERS[0], _OWNERS[2]])
    assert isinstance(signed.origin, MultiSigCondition)
    alone = replace(signed, origin=replace(signed.origin, fields=signed.origin.fields[:1]))
    raised = replace(signed, origin=replace(signed.origin, fee=signed.fee_ustx + 1))
    for wrong, expected in (
        (unsigned, "MISSING_SIGNATURE"),
        (alone, "MISSING_SIGNATURE"),
        (raised, "INVALID_SIGNATURE"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await submit(gateway, prepared, serialize_transaction(wrong), SERVICE)
        assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
    sent = await submit(gateway, prepared, serialize_transaction(signed), SERVICE)
    assert (sent.txid, sent.sender_principal) == (signed.txid, _ACCOUNT)
    assert await world.mined(sent.txid) == "success"


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 3},
        {"threshold": 0},
        {"threshold": 4},
        {"mode": pb.SHARED_ACCOUNT_MODE_UNSPECIFIED},
        {"mode": pb.SHARED_ACCOUNT_MODE_P2WSH},
        {"public_keys": _KEYS[::-1]},
        {"public_keys": _KEYS[:2]},
        {"public_keys": [*_KEYS[:2], bytes(33)]},
        {"public_keys": []},
    ],
)
async def test_keys_that_are_not_the_accounts_are_refused(gateway: RunningGateway, changes: dict[str, object]) -> None:
    """Proves that nothing is prepared for keys, an order, a threshold or a mode that make another address."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.PrepareTransaction(_request(**changes), metadata=SERVICE)
    assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SHARED_ACCOUNT")


async def test_one_key_is_not_several(world: World, gateway: RunningGateway) -> None:
    """Proves that a public key must be the principal's, and that it is not given beside a shared account's keys."""
    both = _request()
    both.public_key = _KEYS[0]
    lone = pb.PrepareTransactionRequest(request_id=new_id(), principal=_ACCOUNT, deposit=deposit(), public_key=_KEYS[0])
    short = pb.PrepareTransactionRequest(request_id=new_id(), principal=_ACCOUNT, deposit=deposit(), public_key=b"\2")
    for request in (both, lone, short):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await gateway.stub.PrepareTransaction(request, metadata=SERVICE)
        assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PUBLIC_KEY")


async def _by_holder(world: World, gateway: RunningGateway, request: pb.PrepareTransactionRequest) -> str:
    """Prepares, signs with the outside wallet, submits; the status once mined."""
    holder = metadata(world.holder.address, Role.HOLDER)
    request.request_id, request.public_key = new_id(), bytes.fromhex(world.holder.public_key)
    prepared = (await gateway.stub.PrepareTransaction(request, metadata=holder)).prepared_transaction
    assert _same_but_signatures(prepared, await sign(world, "holder", prepared))
    sent = await submit(gateway, prepared, await sign(world, "holder", prepared), holder)
    return await world.mined(sent.txid)


def _same_but_signatures(prepared: transaction_pb2.PreparedTransaction, raw: bytes) -> bool:
    unsigned, signed = deserialize_transaction(prepared.unsigned_transaction), deserialize_transaction(raw)
    return replace(signed, origin=unsigned.origin) == unsigned


async def test_a_holder_activates_and_settles_alone(world: World, gateway: RunningGateway) -> None:
    """Proves the way out without the backend: request on chain, receipt of the oracle, settlement by the holder."""
    terms, tip = await created_policy(world, gateway, money_pb2.TOKEN_STX)
    pages = await gateway.events(
        pb.EVENT_FINALITY_TIP,
        lambda pages: any(e.policy_created.terms.policy == terms.policy for p in pages for e in p.events),
    )
    created = next(e.policy_created for p in pages for e in p.events if e.policy_created.terms.policy == terms.policy)
    activation = pb.PrepareTransactionRequest()
    activation.request_activation.onchain_id = created.onchain_id
    assert await _by_holder(world, gateway, activation) == "success"
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 46_000 * USD)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    settlement = pb.PrepareTransactionRequest(
        settle_policy=pb.SettlePolicyCall(
            onchain_id=created.onchain_id,
            receipt=world.receipt(terms.policy, tip.burn_height, 46_000 * USD, USD),
            btc_round=world.rounds[price_pb2.FEED_BTC_USD],
            stx_round=world.rounds[price_pb2.FEED_STX_USD],
            max_payout=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=created.max_payout_base_units),
        )
    )
    assert await _by_holder(world, gateway, settlement) == "success"
    await gateway.events(
        pb.EVENT_FINALITY_TIP,
        lambda pages: any(e.policy_settled.policy == terms.policy for p in pages for e in p.events),
    )


async def test_a_holders_own_calls_are_checked(world: World, gateway: RunningGateway) -> None:
    """Proves that an id of nothing, and a receipt without a signature, name their field."""
    holder = metadata(world.holder.address, Role.HOLDER)
    activation = pb.PrepareTransactionRequest(request_id=new_id())
    activation.request_activation.SetInParent()
    settlement = pb.PrepareTransactionRequest(request_id=new_id(), settle_policy=pb.SettlePolicyCall(onchain_id=1))
    settlement.settle_policy.receipt.CopyFrom(world.receipt(f"policies/{new_id()}", 1, USD, USD))
    settlement.settle_policy.receipt.signature = bytes(65)
    for request, code in ((activation, "INVALID_FIELD"), (settlement, "INVALID_SIGNATURE")):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await gateway.stub.PrepareTransaction(request, metadata=holder)
        assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.INVALID_ARGUMENT, code)

"""What wallets do in tests: sign what was prepared with the outside wallet, and submit it."""

from __future__ import annotations

from typing import Any

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.rpc import error_details_pb2, status_pb2

from kernel.ids import new_id
from kernel.rpc.caller import Role
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World
from tests.tokens import metadata


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason of an ErrorInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


def deposit(amount: int = 1_000_000_000_000, token: int = money_pb2.TOKEN_STX) -> pb.DepositCall:
    """A deposit into the balanced tier."""
    money = money_pb2.TokenAmount(token=money_pb2.Token.ValueType(token), base_units=amount)
    return pb.DepositCall(amount=money, tier=money_pb2.TIER_BALANCED)


async def prepare_deposit(world: World, gateway: RunningGateway, **changes: Any) -> transaction_pb2.PreparedTransaction:
    """A prepared deposit of the provider's."""
    request = pb.PrepareTransactionRequest(
        request_id=new_id(),
        public_key=bytes.fromhex(world.provider.public_key),
        deposit=deposit(**changes),
    )
    answer = await gateway.stub.PrepareTransaction(request, metadata=provider(world))
    return answer.prepared_transaction


def provider(world: World) -> tuple[tuple[str, str], ...]:
    """The provider's call metadata."""
    return metadata(world.provider.address, Role.PROVIDER)


async def sign(world: World, seed: str, prepared: transaction_pb2.PreparedTransaction, **changes: Any) -> bytes:
    """What the outside wallet makes of a prepared transaction."""
    options = {
        "post_conditions": [one.hex() for one in prepared.post_conditions],
        "nonce": prepared.suggested_nonce,
        "fee": prepared.suggested_fee_ustx,
    } | changes
    arguments = [one.hex() for one in prepared.arguments]
    signed = await world.wallet.call(seed, prepared.contract, prepared.function, arguments, **options)
    return bytes.fromhex(signed.raw)


async def submit(
    gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction, raw: bytes, caller: Any
) -> pb.Transaction:
    """Submits signed bytes."""
    request = pb.SubmitSignedTransactionRequest(prepared_transaction=prepared.name, signed_transaction=raw)
    return (await gateway.stub.SubmitSignedTransaction(request, metadata=caller)).transaction


async def deposited(world: World, gateway: RunningGateway, token: int = money_pb2.TOKEN_STX) -> pb.Transaction:
    """A deposit that is mined."""
    prepared = await prepare_deposit(world, gateway, token=token, amount=10**12 if token == 1 else 10**9)
    raw = await sign(world, "provider", prepared)
    sent = await submit(gateway, prepared, raw, provider(world))
    assert await world.mined(sent.txid) == "success"
    return sent


async def created_policy(
    world: World, gateway: RunningGateway, token: int
) -> tuple[transaction_pb2.QuoteTerms, pb.Tip]:
    """A policy, paid by the outside wallet on a quote signed by the gateway."""
    await world.devnet.mine_burn_blocks(1)
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_000 * USD)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    await deposited(world, gateway, token)
    tip = await gateway.caught_up(world)
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
    sent = await submit(gateway, prepared, await sign(world, "holder", prepared), holder)
    assert await world.mined(sent.txid) == "success"
    return terms, tip

"""Requests that a holder makes on chain: answered by the oracle alone, publicly, by the same rules."""

from __future__ import annotations

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from services.chain_gateway.stacks.clarity import (
    Buffer,
    StringAscii,
    TupleValue,
    UInt,
    parse_principal,
    serialize,
)
from services.oracle.chain_requests import ON_CHAIN_ACTIVATIONS
from services.oracle.domain.prices import Feed
from tests.integration.oracle.harness import DEPLOYER, START, USD, Oracle, ScriptedPrices, eventually, oracle_at

ID = "0190" * 8
FIRST = int(START.timestamp())


def _created(strike_usd: int) -> event_pb2.ChainEvent:
    event = event_pb2.ChainEvent()
    event.policy_created.terms.policy = f"policies/{ID}"
    terms = event.policy_created.terms
    terms.strike_price_usd_e8, terms.floor_price_usd_e8 = strike_usd * USD, 4_000 * USD
    terms.protected_amount_sats, terms.token = 10_000_000, money_pb2.TOKEN_SBTC
    return event


def _requested(number: int, burn_height: int, holder: str = DEPLOYER) -> event_pb2.ChainEvent:
    value = TupleValue(
        {
            "topic": StringAscii("activation-requested"),
            "id": UInt(1),
            "policy-id": Buffer(bytes.fromhex(ID)),
            "holder": parse_principal(holder),
            "request": UInt(number),
            "burn-height": UInt(burn_height),
        }
    )
    other = event_pb2.OtherEvent(topic="activation-requested", value=serialize(value))
    return event_pb2.ChainEvent(other=other)


async def _receipt(oracle: Oracle, number: int) -> price_pb2.SettlementReceipt | None:
    purpose = price_pb2.ActivationPurpose(policy=f"policies/{ID}", activation_number=ON_CHAIN_ACTIVATIONS + number)
    try:
        answer = await oracle.stub.GetReceipt(pb.GetReceiptRequest(activation=purpose))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    receipt: price_pb2.SettlementReceipt = answer.receipt
    return receipt


async def _outcomes(oracle: Oracle) -> list[str]:
    return [row[0] for row in await oracle.rows("SELECT outcome FROM oracle.activation_request ORDER BY 1")]


@pytest.mark.parametrize("holder", [DEPLOYER, f"{DEPLOYER}.a-contract"])
async def test_a_request_on_chain_gets_a_public_receipt(database_url: str, holder: str) -> None:
    """From the first round after the request's block, at the request's height, without any call by the backend; a
    second request of a policy in the money gets none, and is closed."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        height = oracle.gateway.burn_height
        await oracle.gateway.emit(_created(8_500))
        await oracle.gateway.emit(_requested(1, height, holder))
        await eventually(lambda: _has(oracle, [""]))
        assert await _receipt(oracle, 1) is None
        source.prices[Feed.BTC_USD] = 8_200 * USD
        await oracle.advance(60)
        source.prices[Feed.BTC_USD] = 8_900 * USD
        await oracle.advance(600)
        await eventually(lambda: _has(oracle, ["SIGNED"]))
        receipt = await _receipt(oracle, 1)
        await oracle.gateway.emit(_requested(2, height + 1, holder))
        await oracle.advance(60)
        await eventually(lambda: _has(oracle, ["RECEIPT_IN_THE_MONEY", "SIGNED"]))
        assert await _receipt(oracle, 2) is None
    assert receipt is not None
    assert (receipt.btc_price_usd_e8, receipt.burn_height) == (8_200 * USD, height)
    assert receipt.observe_time.seconds == FIRST + 58


async def test_what_cannot_be_read_stops_nothing(database_url: str) -> None:
    """Garbage, a request for an unknown policy and other topics are passed over; the next good request is kept."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        height = oracle.gateway.burn_height
        await oracle.gateway.emit(_requested(1, height))
        garbage = _requested(2, height).other.value[:-3]
        for value in (b"", b"\x01", garbage, garbage + bytes(9)):
            other = event_pb2.OtherEvent(topic="activation-requested", value=value)
            await oracle.gateway.emit(event_pb2.ChainEvent(other=other))
        await oracle.gateway.emit(event_pb2.ChainEvent(other=event_pb2.OtherEvent(topic="paused", value=b"\x03")))
        await oracle.gateway.emit(_created(7_000))
        await oracle.gateway.emit(_requested(3, height))
        await oracle.advance(60)
        await eventually(lambda: _has(oracle, ["SIGNED"]))
        receipt = await _receipt(oracle, 3)
    assert receipt is not None
    assert receipt.btc_price_usd_e8 == 8_000 * USD


async def _has(oracle: Oracle, outcomes: list[str]) -> bool:
    return await _outcomes(oracle) == outcomes

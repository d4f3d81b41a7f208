"""Receipts with their evidence, as the oracle answers them, and what they are checked against."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from kernel.errors import InvalidArgument
from services.oracle.domain.evidence import EvidenceMismatch
from services.oracle.domain.prices import Feed
from services.oracle.signing import ContractAddress
from services.oracle.verify import Pinned, verify
from tests.integration.oracle.harness import (
    CHAIN_ID,
    DEPLOYER,
    START,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    oracle_at,
)

POLICY = "policies/" + "0190" * 8


async def made_receipts(database_url: str) -> tuple[pb.GetReceiptResponse, pb.GetReceiptResponse, str]:
    """One of an activation that three unusable rounds came before, one of an expiry, and the oracle's public key."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        request_time = START + dt.timedelta(seconds=59)
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 5
        await oracle.advance(60)
        activation = await _activation(oracle, request_time)
        await oracle.advance(2_400)
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(120)
        source.sources[Feed.BTC_USD] = 5
        await oracle.advance(1_080)
        height = oracle.gateway.burn_height
        await oracle.stub.CreateExpiryReceipt(
            pb.CreateExpiryReceiptRequest(expiration_burn_height=height), metadata=WORKFLOWS
        )
        purpose = price_pb2.ExpiryPurpose(expiration_burn_height=height)
        expiry = await oracle.stub.GetReceipt(pb.GetReceiptRequest(expiry=purpose))
        return activation, expiry, oracle.public_key.hex()


async def _activation(oracle: Oracle, time: dt.datetime) -> pb.GetReceiptResponse:
    request = pb.CreateActivationReceiptRequest(
        policy=POLICY,
        activation_number=1,
        request_burn_height=oracle.gateway.burn_height,
        strike_price_usd_e8=8_500 * USD,
        floor_price_usd_e8=4_000 * USD,
        protected_amount_sats=10_000_000,
        settlement_token=money_pb2.TOKEN_SBTC,
    )
    request.request_market_time.FromDatetime(time)
    await oracle.stub.CreateActivationReceipt(request, metadata=WORKFLOWS)
    purpose = price_pb2.ActivationPurpose(policy=POLICY, activation_number=1)
    found: pb.GetReceiptResponse = await oracle.stub.GetReceipt(pb.GetReceiptRequest(activation=purpose))
    return found


def pinned_to(key: str, **changes: Any) -> Pinned:
    """What these receipts are checked against, but for changes."""
    deployer = ContractAddress(DEPLOYER, "testnet")
    fields: dict[str, Any] = {
        "key": key,
        "network": "testnet",
        "chain_id": CHAIN_ID,
        "deployer": deployer,
        "interval_seconds": 60,
    }
    return Pinned(**(fields | changes))


def refusal(response: pb.GetReceiptResponse, pinned: Pinned) -> str:
    """Why a receipt is refused, which it has to be."""
    with pytest.raises((EvidenceMismatch, InvalidArgument)) as refused:
        verify(response, pinned)
    return str(refused.value)

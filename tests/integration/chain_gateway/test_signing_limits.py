"""Intents that the signing policy refuses: for good, and for now; and what their replacements cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2
from sqlmodel import select

from kernel.ids import new_id
from services.chain_gateway.config import Settings
from services.chain_gateway.stacks.transaction import deserialize_transaction
from services.chain_gateway.tables_keys import SigningAudit
from tests.integration.chain_gateway.scripted_node import ScriptedNode, scripted_node
from tests.integration.chain_gateway.world import RunningGateway, running_gateway, write_key

_POLICY = """
["oracle.publish-price"]
most_per_minute = 2
bounds.btc_price_usd_e8 = { least = 10, most = 20 }
"""
_SECONDS = 60


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
async def gateway(node: ScriptedNode, database_url: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway that may publish twice a minute, between two prices."""
    (tmp_path / "policy.toml").write_text(_POLICY)
    settings = Settings(
        listen="127.0.0.1:0",
        database_url=database_url,
        identity_address="127.0.0.1:1",
        node_urls=(node.url,),
        contract_deployer="ST000000000000000000002AMW42H",
        backend_signers=(f"file:{write_key(tmp_path / 'key', 5)}",),
        signing_policy_file=str(tmp_path / "policy.toml"),
        poll_interval_ms=10,
    )
    async with running_gateway(settings) as running:
        await running.tip(1)
        yield running


async def _publish(gateway: RunningGateway, number: int, price: int) -> pb.Intent:
    message = price_pb2.PriceRound(feed=price_pb2.FEED_BTC_USD, round=number, price_usd_e8=price)
    message.signature = bytes([1]) * 64 + b"\0"
    message.observe_time.FromSeconds(1)
    return await gateway.create_intent(new_id(), pb.ContractCall(publish_price=pb.PublishPriceCall(round=message)))


async def _audit(gateway: RunningGateway) -> list[tuple[str, str, int]]:
    async with gateway.gateway.database.transaction() as session:
        rows = (await session.exec(select(SigningAudit))).all()
    return sorted((row.subject, row.reason, row.attempts) for row in rows)


async def test_what_is_never_signed_ends_the_intent(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A price out of bounds: the intent is CANCELLED with the policy's reason, on record, and nothing reaches a node;
    the one behind it is sent."""
    bad, good = await _publish(gateway, 1, 21), await _publish(gateway, 2, 20)
    ended = await gateway.intent_where(bad.name, lambda one: one.end_time.seconds)
    assert (ended.state, ended.reason, list(ended.transactions)) == (
        pb.INTENT_STATE_CANCELLED,
        "ARGUMENT_OUT_OF_BOUNDS",
        [],
    )
    await gateway.intent_where(good.name, lambda one: one.transactions)
    assert await _audit(gateway) == sorted([(bad.name, "ARGUMENT_OUT_OF_BOUNDS", 1), (good.name, "", 1)])


async def test_what_is_not_signed_now_waits(node: ScriptedNode, gateway: RunningGateway) -> None:
    """The third publication of a minute stays queued with the reason, and does not hold back a nonce."""
    intents = [await _publish(gateway, number, 15) for number in range(3)]
    await gateway.intent_where(intents[1].name, lambda one: one.transactions)
    waiting = await gateway.intent_where(intents[2].name, lambda one: one.reason)
    assert (waiting.state, waiting.reason) == (pb.INTENT_STATE_QUEUED, "RATE_USED_UP")
    async with asyncio.timeout(_SECONDS):
        while len(node.mempool) < 2:
            await asyncio.sleep(0.01)
    assert sorted(deserialize_transaction(raw).nonce for raw in node.mempool.values()) == [0, 1]


async def test_a_higher_fee_costs_nothing_of_a_limit(node: ScriptedNode, gateway: RunningGateway) -> None:
    """An intent that is signed again with a higher fee, as nodes ask, is one signature of the two of a minute."""
    node.refusals = [{"reason": "FeeTooLow", "reason_data": {"expected": 50_000, "actual": 1_000}}]
    first = await _publish(gateway, 1, 15)
    raised = await gateway.intent_where(first.name, lambda one: len(one.transactions) == 2)
    assert max(tx.fee_ustx for tx in raised.transactions) >= 50_000
    second = await _publish(gateway, 2, 15)
    await gateway.intent_where(second.name, lambda one: one.transactions)
    assert await _audit(gateway) == sorted([(first.name, "", 1), (second.name, "", 1)])

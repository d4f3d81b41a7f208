"""What is known before a first send: done already, not final yet, withdrawn."""

from __future__ import annotations

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from prometheus_client import REGISTRY

from kernel.ids import new_id
from services.chain_gateway import convert_terms
from services.chain_gateway.stacks.clarity import Bool, StringAscii, TupleValue
from tests.integration.chain_gateway.scripted_gateway import (
    ADDRESS,
    DEPLOYER,
    all_confirmed,
    publish_call,
    until,
)
from tests.integration.chain_gateway.scripted_node import (
    ScriptedNode,
    ScriptedTransaction,
    digest,
    print_of,
)
from tests.integration.chain_gateway.world import RunningGateway


def _publication(call: pb.ContractCall, latest: bool) -> ScriptedTransaction:
    """Somebody else's transaction that publishes the round of a call."""
    message = convert_terms.price_round("round", call.publish_price.round)
    printed = TupleValue({**message.fields, "topic": StringAscii("price-published"), "latest": Bool(latest)})
    return ScriptedTransaction(digest("other"), [print_of(printed, f"{DEPLOYER}.oracle")])


@pytest.mark.parametrize("latest", [True, False])
async def test_a_round_that_is_published_is_waited_for_until_final(
    node: ScriptedNode, gateway: RunningGateway, latest: bool
) -> None:
    """Published by others, not final: the intent waits and says so. Final: CONFIRMED, and nothing was ever signed."""
    call = publish_call(1)
    node.add(2, _publication(call, latest))
    await gateway.tip(stacks_height=2)
    intent = await gateway.create_intent(new_id(), call)
    waiting = await gateway.intent_where(intent.name, lambda one: one.reason)
    assert (waiting.state, waiting.reason) == (pb.INTENT_STATE_QUEUED, "ROUND_PUBLISHED_NOT_FINAL")
    node.add(3)
    done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (done.state, done.reason) == (pb.INTENT_STATE_CONFIRMED, "EFFECT_BY_OTHERS")
    assert not done.transactions
    assert not node.broadcasts


async def test_a_publication_that_is_withdrawn_proves_nothing(node: ScriptedNode, gateway: RunningGateway) -> None:
    """The other publication leaves the chain: the intent is sent after all."""
    call = publish_call(1)
    node.add(2, _publication(call, True))
    await gateway.tip(stacks_height=2)
    intent = await gateway.create_intent(new_id(), call)
    await gateway.intent_where(intent.name, lambda one: one.reason)
    node.add(1, on_height=1, fork="x")
    node.add(1, fork="x")
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, intent)
    assert (done.state, len(done.transactions), done.reason) == (pb.INTENT_STATE_CONFIRMED, 1, "")


async def test_an_account_without_funds_signs_nothing(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Below the least fee the intent stays queued; with funds, at the next block, it is sent."""
    node.balance = 10
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: (REGISTRY.get_sample_value("bithedge_gateway_balance_ustx", {"address": ADDRESS}) or 0) == 10)
    waiting = await gateway.intent_where(intent.name, lambda one: True)
    assert (waiting.state, len(waiting.transactions)) == (pb.INTENT_STATE_QUEUED, 0)
    node.balance = 10**7
    node.add(1)
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED

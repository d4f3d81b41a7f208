"""Every way in which a node may take or refuse a transaction, and what becomes of the intent."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.ids import new_id
from services.chain_gateway.config import Settings
from services.chain_gateway.domain.rejection import MOST_REFUSALS
from services.chain_gateway.stacks.payload import TokenTransfer
from services.chain_gateway.stacks.transaction import deserialize_transaction
from tests.integration.chain_gateway.scripted_gateway import (
    all_confirmed,
    confirmed,
    publish_call,
    refusal,
    sent,
    until,
)
from tests.integration.chain_gateway.scripted_node import ScriptedNode
from tests.integration.chain_gateway.world import RunningGateway, running_gateway


async def test_silence_leads_to_the_same_bytes_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """No usable answer leaves it UNKNOWN; the same bytes are handed in until taken, and nothing else is signed."""
    node.refusals = [503, 503, 503, 503]
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await gateway.intent_where(
        intent.name, lambda one: any(tx.state == pb.TRANSACTION_STATE_UNKNOWN for tx in one.transactions)
    )
    done = await confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert len(set(node.broadcasts)) == 1
    assert len(done.transactions) == 1


async def test_a_permanent_refusal_gives_the_nonce_to_the_next(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Bytes that no node will take are handed in several times, then given up; the intent ends CANCELLED with the
    node's reason only when another transaction has its nonce finally."""
    node.refusals = [refusal("BadFunctionArgument")] * MOST_REFUSALS
    first = await gateway.create_intent(new_id(), publish_call(1))
    second = await gateway.create_intent(new_id(), publish_call(2))
    await until(lambda: node.mempool)
    assert len(set(node.broadcasts[:MOST_REFUSALS])) == 1
    given_up = await gateway.intent_where(first.name, lambda one: one.reason)
    assert (given_up.state, given_up.reason) == (pb.INTENT_STATE_SUBMITTED, "BadFunctionArgument")
    done = await all_confirmed(node, gateway, second)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    ended = await gateway.intent_where(first.name, lambda one: one.end_time.seconds)
    assert (ended.state, ended.reason) == (pb.INTENT_STATE_CANCELLED, "BadFunctionArgument")
    assert {one.nonce for one in sent(node)[: MOST_REFUSALS + 1]} == {0}


async def test_what_was_refused_may_be_mined_after_all(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A node that refused for good and mined all the same: the intent is CONFIRMED, and whoever had its nonce next is
    sent again with another."""
    node.refusals = [refusal("BadFunctionArgument")] * MOST_REFUSALS
    first = await gateway.create_intent(new_id(), publish_call(1))
    second = await gateway.create_intent(new_id(), publish_call(2))
    await until(lambda: node.mempool)
    refused, taken = node.broadcasts[0], next(iter(node.mempool))
    del node.mempool[taken]
    txid = deserialize_transaction(refused).txid
    node.mempool[txid] = refused
    node.mine(txid, 2)
    node.add(3)
    done = await gateway.intent_where(first.name, lambda one: one.end_time.seconds)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    await until(lambda: len(node.mempool) == 1)
    again = await all_confirmed(node, gateway, second, 4)
    assert again.state == pb.INTENT_STATE_CONFIRMED
    assert [(tx.nonce, tx.state) for tx in again.transactions] == [
        (0, pb.TRANSACTION_STATE_REPLACED),
        (1, pb.TRANSACTION_STATE_CONFIRMED),
    ]


async def test_a_given_up_intent_ends_although_nothing_follows(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Without another intent its nonce is used by a transfer that does nothing, and that is its proof."""
    node.refusals = [refusal("NoSuchPublicFunction")] * MOST_REFUSALS
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    filler = deserialize_transaction(next(iter(node.mempool.values())))
    assert isinstance(filler.payload, TokenTransfer)
    assert (filler.nonce, filler.payload.amount_ustx) == (0, 1)
    done = await all_confirmed(node, gateway, intent)
    assert (done.state, done.reason) == (pb.INTENT_STATE_CANCELLED, "NoSuchPublicFunction")


async def test_the_same_call_again_is_another_transaction(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A second attempt at a call that was given up may take the same nonce; its transaction has a txid of its own."""
    node.refusals = [refusal("BadFunctionArgument")] * MOST_REFUSALS
    first = await gateway.create_intent(new_id(), publish_call(1))
    second = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    done = await all_confirmed(node, gateway, second)
    ended = await gateway.intent_where(first.name, lambda one: one.end_time.seconds)
    assert (done.state, ended.state) == (pb.INTENT_STATE_CONFIRMED, pb.INTENT_STATE_CANCELLED)
    assert done.transactions[0].nonce == ended.transactions[0].nonce
    assert done.transactions[0].txid != ended.transactions[0].txid


async def test_a_refusal_in_the_middle_leaves_no_gap(node: ScriptedNode, settings: Settings) -> None:
    """Five intents at once behind one that is slow, the second refused for a while: all go out, without a gap."""
    node.refusals = [503, 503, refusal("BadFunctionArgument")]
    async with running_gateway(settings) as gateway:
        await gateway.tip(1)
        for number in range(6):
            await gateway.create_intent(new_id(), publish_call(number))
        await until(lambda: len(node.mempool) == 6)
    assert sorted(deserialize_transaction(raw).nonce for raw in node.mempool.values()) == [0, 1, 2, 3, 4, 5]


async def test_what_a_node_forgot_is_handed_in_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A transaction dropped from the mempool is broadcast again with the same bytes."""
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    txid = next(iter(node.mempool))
    node.mempool.clear()
    node.statuses[txid] = "dropped_stale_garbage_collect"
    done = await confirmed(node, gateway, intent)
    assert (done.state, [tx.txid for tx in done.transactions]) == (pb.INTENT_STATE_CONFIRMED, [txid])


async def test_a_withdrawn_block_takes_the_transaction_back(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Mined, withdrawn, mined again with another result: the intent ends on what is final."""
    intent = await gateway.create_intent(new_id(), publish_call(1))
    await until(lambda: node.mempool)
    txid, raw = next(iter(node.mempool.items()))
    node.mine(txid, 1)
    await gateway.intent_where(intent.name, lambda one: one.transactions[0].stacks_height == 2)
    node.add(1, on_height=1, fork="x")
    node.add(1, fork="x")
    node.mempool[txid] = raw
    await gateway.intent_where(intent.name, lambda one: one.transactions[0].stacks_height == 0)
    node.mine(txid, 2, status="abort_by_response", result=bytes.fromhex("0801" + f"{2005:032x}"))
    node.add(3)
    done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (done.state, done.contract_error) == (pb.INTENT_STATE_ABORTED, 2005)
    assert done.transactions[0].result == "(err u2005)"


async def test_a_full_queue_is_refused(node: ScriptedNode, settings: Settings) -> None:
    """Beyond the queue's limit a new intent is RESOURCE_EXHAUSTED; known keys are still answered."""
    node.refusals = [503] * 1_000
    async with running_gateway(replace(settings, queue_limit=3)) as gateway:
        await gateway.tip(1)
        keys = [new_id() for _ in range(5)]
        first = await gateway.create_intent(keys[0], publish_call(0))
        await gateway.intent_where(first.name, lambda one: one.transactions)
        for number in (1, 2, 3):
            await gateway.create_intent(keys[number], publish_call(number))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await gateway.create_intent(keys[4], publish_call(4))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await gateway.create_intent(keys[3], publish_call(3))).key == keys[3]

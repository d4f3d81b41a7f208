"""Fees: raised at the same nonce, as far as the cap."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from prometheus_client import REGISTRY

from kernel.ids import new_id
from services.chain_gateway.config import Settings
from tests.integration.chain_gateway.scripted_gateway import (
    confirmed,
    publish_call,
    refusal,
    sent,
    until,
)
from tests.integration.chain_gateway.scripted_node import ScriptedNode
from tests.integration.chain_gateway.world import RunningGateway, running_gateway


async def test_a_fee_too_low_is_raised_at_the_same_nonce(node: ScriptedNode, gateway: RunningGateway) -> None:
    """The node's own minimum is met, at the same nonce."""
    node.refusals = [refusal("FeeTooLow", expected=7_777, actual=1)]
    intent = await gateway.create_intent(new_id(), publish_call(1))
    done = await confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert [(tx.nonce, tx.fee_ustx) for tx in done.transactions][1:] == [(0, 7_777)]
    assert [tx.state for tx in done.transactions] == [
        pb.TRANSACTION_STATE_DROPPED,
        pb.TRANSACTION_STATE_CONFIRMED,
    ]


@pytest.mark.parametrize("winner", [0, 1])
async def test_a_stuck_transaction_gets_a_higher_fee_and_either_may_win(
    node: ScriptedNode, settings: Settings, winner: int
) -> None:
    """A fee raise is a new txid at the same nonce; whichever is mined confirms the intent, the other is REPLACED."""
    async with running_gateway(replace(settings, stuck_blocks=2)) as gateway:
        await gateway.tip(1)
        intent = await gateway.create_intent(new_id(), publish_call(1))
        await until(lambda: node.mempool)
        node.add(1)
        node.add(1)
        await until(lambda: len(node.mempool) == 2)
        first, second = sent(node)[:2]
        assert (first.nonce, second.nonce) == (0, 0)
        assert second.fee_ustx > first.fee_ustx
        won = (first, second)[winner].txid
        node.mine(won, 2)
        node.add(3)
        done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    states = {tx.txid: tx.state for tx in done.transactions}
    assert states.pop(won) == pb.TRANSACTION_STATE_CONFIRMED
    assert set(states.values()) == {pb.TRANSACTION_STATE_REPLACED}


def _capped() -> float:
    return REGISTRY.get_sample_value("bithedge_gateway_fee_capped_total") or 0.0


async def _grow(node: ScriptedNode) -> None:
    """Empty blocks, one after the other."""
    while True:
        node.add(1)
        await asyncio.sleep(0.1)


async def test_a_fee_stops_at_the_cap_and_says_so(node: ScriptedNode, settings: Settings) -> None:
    """Stuck again and again: the fee rises to the cap and no further, the intent says why it waits, and is mined."""
    async with running_gateway(replace(settings, stuck_blocks=1, fee_cap_ustx=1_700)) as gateway:
        await gateway.tip(1)
        before = _capped()
        intent = await gateway.create_intent(new_id(), publish_call(1))
        growing = asyncio.ensure_future(_grow(node))
        waiting = await gateway.intent_where(intent.name, lambda one: one.reason)
        growing.cancel()
        assert waiting.reason == "FEE_CAP_REACHED"
        fees = [tx.fee_ustx for tx in waiting.transactions]
        assert fees == sorted(set(fees))
        assert (len(fees), fees[-1] <= 1_700) == (3, True)
        assert _capped() == before + 1
        node.mine(waiting.transactions[-1].txid, 2)
        node.add(3)
        done = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (done.state, done.reason) == (pb.INTENT_STATE_CONFIRMED, "")

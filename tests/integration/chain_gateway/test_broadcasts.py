"""Every way in which a node may take or refuse a transaction, and what becomes of the intent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from kernel.ids import new_id
from services.chain_gateway import store_intents
from services.chain_gateway.config import Settings
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.transaction import Transaction, deserialize_transaction
from services.chain_gateway.tables import ChainTransaction
from tests.integration.chain_gateway.scripted_node import ScriptedNode, scripted_node
from tests.integration.chain_gateway.world import RunningGateway, running_gateway, write_key

DEPLOYER: Final = "ST000000000000000000002AMW42H"
_SECONDS: Final = 15


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
def settings(node: ScriptedNode, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the scripted node."""
    return Settings(
        listen="127.0.0.1:0",
        database_url=database_url,
        identity_address="127.0.0.1:1",
        node_urls=(node.url,),
        contract_deployer=DEPLOYER,
        backend_signers=(f"file:{write_key(tmp_path / 'key', 5)}",),
        poll_interval_ms=10,
    )


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[RunningGateway]:
    """A gateway on the scripted node."""
    async with running_gateway(settings) as running:
        await running.tip(1)
        yield running


def _call(number: int) -> pb.ContractCall:
    message = price_pb2.PriceRound(
        feed=price_pb2.FEED_BTC_USD,
        round=number,
        price_usd_e8=50_000 * 10**8,
        burn_height=1,
        signature=bytes([1]) * 64 + b"\0",
    )
    message.observe_time.FromSeconds(1_600_000_000)
    return pb.ContractCall(publish_price=pb.PublishPriceCall(round=message))


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def _sent(node: ScriptedNode) -> list[Transaction]:
    return [deserialize_transaction(raw) for raw in node.broadcasts]


def _refusal(reason: str, **data: object) -> dict[str, Any]:
    return {"reason": reason, "reason_data": data}


async def _confirmed(node: ScriptedNode, gateway: RunningGateway, intent: pb.Intent) -> pb.Intent:
    """Mines what waits, and the burn block on top."""
    await _until(lambda: node.mempool)
    node.mine(next(iter(node.mempool)), 2)
    node.add(3)
    return await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)


async def test_silence_leads_to_the_same_bytes_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """No usable answer leaves it UNKNOWN; the same bytes are handed in until taken, and nothing else is signed."""
    node.refusals = [503, 503, 503, 503]
    intent = await gateway.create_intent(new_id(), _call(1))
    await gateway.intent_where(
        intent.name, lambda one: any(tx.state == pb.TRANSACTION_STATE_UNKNOWN for tx in one.transactions)
    )
    done = await _confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert len(set(node.broadcasts)) == 1
    assert len(done.transactions) == 1


async def test_nothing_is_signed_behind_what_may_not_have_arrived(node: ScriptedNode, gateway: RunningGateway) -> None:
    """While the fate of one transaction is unknown the next intent waits, so that no gap of nonces can arise."""
    node.refusals = [503] * 6
    first = await gateway.create_intent(new_id(), _call(1))
    second = await gateway.create_intent(new_id(), _call(2))
    await _until(lambda: len(node.mempool) == 2)
    assert len({one.nonce for one in _sent(node)[:7]}) == 1
    for intent, nonce in ((first, 0), (second, 1)):
        found = await gateway.intent_where(intent.name, lambda one: len(one.transactions) == 1)
        assert found.transactions[0].nonce == nonce


async def test_a_permanent_refusal_cancels_and_frees_the_nonce(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Bytes that no node will take: CANCELLED with the node's reason, and the next intent has the nonce."""
    node.refusals = [_refusal("BadFunctionArgument")]
    first = await gateway.create_intent(new_id(), _call(1))
    ended = await gateway.intent_where(first.name, lambda one: one.end_time.seconds)
    assert (ended.state, ended.reason) == (pb.INTENT_STATE_CANCELLED, "BadFunctionArgument")
    second = await gateway.create_intent(new_id(), _call(2))
    done = await _confirmed(node, gateway, second)
    assert (done.state, done.transactions[0].nonce) == (pb.INTENT_STATE_CONFIRMED, 0)


async def test_the_same_call_again_is_another_transaction(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A second attempt at a cancelled call takes the same nonce; its transaction has a txid of its own."""
    node.refusals = [_refusal("BadFunctionArgument")]
    first = await gateway.create_intent(new_id(), _call(1))
    ended = await gateway.intent_where(first.name, lambda one: one.end_time.seconds)
    second = await gateway.create_intent(new_id(), _call(1))
    done = await _confirmed(node, gateway, second)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert done.transactions[0].nonce == ended.transactions[0].nonce
    assert done.transactions[0].txid != ended.transactions[0].txid


async def test_a_refusal_in_the_middle_leaves_no_gap(node: ScriptedNode, settings: Settings) -> None:
    """Five intents at once, the second refused for good: the other four are sent with consecutive nonces."""
    node.refusals = [503, 503, _refusal("BadFunctionArgument")]
    async with running_gateway(settings) as gateway:
        await gateway.tip(1)
        blocker = await gateway.create_intent(new_id(), _call(0))
        names = [(await gateway.create_intent(new_id(), _call(number))).name for number in range(1, 6)]
        await _until(lambda: len(node.mempool) == 5)
        states = [(await gateway.intent_where(name, lambda one: True)).state for name in [blocker.name, *names]]
    assert states.count(pb.INTENT_STATE_CANCELLED) == 1
    assert sorted(deserialize_transaction(raw).nonce for raw in node.mempool.values()) == [0, 1, 2, 3, 4]


async def test_a_nonce_used_by_others_is_passed_over(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A conflict at the first broadcast proves that ours was never taken: it is signed again with the next nonce."""
    node.refusals = [_refusal("ConflictingNonceInMempool")]
    intent = await gateway.create_intent(new_id(), _call(1))
    await _until(lambda: node.mempool)
    node.nonce = 1
    done = await _confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert [(tx.nonce, tx.state) for tx in done.transactions] == [
        (0, pb.TRANSACTION_STATE_DROPPED),
        (1, pb.TRANSACTION_STATE_CONFIRMED),
    ]


async def test_a_nonce_lost_for_good_ends_the_intent_only_when_final(
    node: ScriptedNode, gateway: RunningGateway
) -> None:
    """Sent without an answer, then another transaction has the nonce: CANCELLED after finality, not before."""
    node.refusals = [503, 503, *([_refusal("BadNonce")] * 40)]
    intent = await gateway.create_intent(new_id(), _call(1))
    await _until(lambda: len(node.broadcasts) >= 2)
    node.nonce = 1
    await _until(lambda: len(node.broadcasts) >= 4)
    seen = (await gateway.intent_where(intent.name, lambda one: True)).state
    assert seen == pb.INTENT_STATE_SUBMITTED
    node.add(2)
    node.add(3)
    ended = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (ended.state, ended.reason) == (pb.INTENT_STATE_CANCELLED, "NONCE_TAKEN")


async def test_a_fee_too_low_is_raised_at_the_same_nonce(node: ScriptedNode, gateway: RunningGateway) -> None:
    """The node's own minimum is met, at the same nonce."""
    node.refusals = [_refusal("FeeTooLow", expected=7_777, actual=1)]
    intent = await gateway.create_intent(new_id(), _call(1))
    done = await _confirmed(node, gateway, intent)
    assert done.state == pb.INTENT_STATE_CONFIRMED
    assert [(tx.nonce, tx.fee_ustx) for tx in done.transactions][1:] == [(0, 7_777)]
    assert [tx.state for tx in done.transactions] == [
        pb.TRANSACTION_STATE_DROPPED,
        pb.TRANSACTION_STATE_CONFIRMED,
    ]


async def test_what_a_node_forgot_is_handed_in_again(node: ScriptedNode, gateway: RunningGateway) -> None:
    """A transaction dropped from the mempool is broadcast again with the same bytes."""
    intent = await gateway.create_intent(new_id(), _call(1))
    await _until(lambda: node.mempool)
    txid = next(iter(node.mempool))
    node.mempool.clear()
    node.statuses[txid] = "dropped_stale_garbage_collect"
    done = await _confirmed(node, gateway, intent)
    assert (done.state, [tx.txid for tx in done.transactions]) == (pb.INTENT_STATE_CONFIRMED, [txid])


@pytest.mark.parametrize("winner", [0, 1])
async def test_a_stuck_transaction_gets_a_higher_fee_and_either_may_win(
    node: ScriptedNode, settings: Settings, winner: int
) -> None:
    """A fee raise is a new txid at the same nonce; whichever is mined confirms the intent, the other is REPLACED."""
    async with running_gateway(replace(settings, stuck_seconds=0.1)) as gateway:
        await gateway.tip(1)
        intent = await gateway.create_intent(new_id(), _call(1))
        await _until(lambda: len(node.mempool) == 2)
        first, second = _sent(node)[:2]
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


async def test_a_withdrawn_block_takes_the_transaction_back(node: ScriptedNode, gateway: RunningGateway) -> None:
    """Mined, withdrawn, mined again with another result: the intent ends on what is final."""
    intent = await gateway.create_intent(new_id(), _call(1))
    await _until(lambda: node.mempool)
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
        first = await gateway.create_intent(keys[0], _call(0))
        await gateway.intent_where(first.name, lambda one: one.transactions)
        for number in (1, 2, 3):
            await gateway.create_intent(keys[number], _call(number))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await gateway.create_intent(keys[4], _call(4))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await gateway.create_intent(keys[3], _call(3))).key == keys[3]


async def test_what_another_replica_has_handed_in_is_not_taken_back(node: ScriptedNode, settings: Settings) -> None:
    """A dispatcher suspended after signing finds its first refused: what may have left meanwhile stays as it is."""
    addresses = Keys.open(settings.backend_signers, settings.contracts().account_version, {}).addresses
    done = asyncio.Event()
    async with running_gateway(settings, only=("state", "pulse", "ingest")) as running:
        gateway = running.gateway
        await running.tip(1)
        names = [(await running.create_intent(new_id(), _call(number))).name for number in range(2)]

        async def suspended() -> None:
            async with gateway.database.transaction() as session:
                await store_intents.declare_accounts(session, addresses)
            rows = await gateway.dispatcher.sign_next(addresses[0], 0)
            async with gateway.database.transaction() as session:
                await session.exec(sa.update(ChainTransaction).values(sends=ChainTransaction.sends + 1))
            node.refusals = [_refusal("BadFunctionArgument")]
            assert not await gateway.broadcaster.send_all(rows)
            done.set()
            await asyncio.Event().wait()

        leading = asyncio.ensure_future(gateway.dispatch_lease.lead(suspended))
        async with asyncio.timeout(_SECONDS):
            await done.wait()
        leading.cancel()
        found = [await running.intent_where(name, lambda one: True) for name in names]
    assert {one.state for one in found} == {pb.INTENT_STATE_SUBMITTED}
    assert [one.transactions[0].nonce for one in found] == [0, 1]

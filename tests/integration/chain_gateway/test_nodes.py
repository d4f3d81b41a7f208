"""Several nodes, some of which fail, lag, want rest, or tell something else than the others."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import grpc
import pytest
from aiohttp import web
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from sqlmodel import col, select

from kernel.errors import Unavailable
from kernel.rpc.deadline import set_deadline
from services.chain_gateway.config import Settings
from services.chain_gateway.domain.breaker import BreakerState
from services.chain_gateway.domain.node_choice import HealthBounds
from services.chain_gateway.node_watch import NodeWatch
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_types import Block
from services.chain_gateway.tables import Block as BlockRow
from tests.integration.chain_gateway.scripted_node import ScriptedNode, ScriptedTransaction, digest, scripted_node
from tests.integration.chain_gateway.world import (
    SCRIPTED_DEPLOYER,
    SERVICE,
    RunningGateway,
    running_gateway,
    scripted_settings,
    write_key,
)

BOUNDS = HealthBounds(lag_blocks=2, tip_age_seconds=60)


@pytest.fixture
async def chain() -> AsyncIterator[list[ScriptedNode]]:
    """Three nodes that tell one chain of ten blocks."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(scripted_node()) for _ in range(3)]
        for height in range(1, 11):
            for node in nodes:
                node.add(height)
        yield nodes


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session."""
    async with aiohttp.ClientSession() as session:
        yield session


def _pool(session: aiohttp.ClientSession, nodes: list[ScriptedNode], weights: list[int] | None = None) -> NodePool:
    return NodePool.open([node.url for node in nodes], session, 2.0, weights or (), BOUNDS)


async def _latest(node: StacksNode) -> Block | None:
    return await node.block("latest")


async def _ask(pool: NodePool, times: int) -> None:
    for _ in range(times):
        assert await pool.ask(_latest) is not None


async def test_a_node_that_fails_is_left_alone(chain: list[ScriptedNode], session: aiohttp.ClientSession) -> None:
    """Every question is answered though one node gives 500s; after five of them it is not asked any more."""
    pool = _pool(session, chain[:2])
    chain[0].outage = web.Response(status=500)
    await _ask(pool, 60)
    assert len(chain[0].questions) == 5
    assert [slot.breaker.failures for slot in pool.slots] == [5, 0]
    assert [slot.healthy for slot in pool.slots] == [False, True]


async def test_a_node_that_recovers_is_probed_and_asked_again(
    chain: list[ScriptedNode], session: aiohttp.ClientSession
) -> None:
    """A breaker that is half-open closes with the first answer."""
    pool = _pool(session, chain[:1])
    chain[0].outage = web.Response(status=503)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await pool.ask(_latest)
    assert pool.slots[0].state is BreakerState.OPEN
    chain[0].outage = None
    async with asyncio.timeout(60):
        while pool.slots[0].state is BreakerState.OPEN:
            await asyncio.sleep(0.02)
    assert pool.slots[0].state is BreakerState.HALF_OPEN
    await _ask(pool, 1)
    assert pool.slots[0].state is BreakerState.CLOSED


async def test_a_busy_node_rests_as_long_as_it_asks(chain: list[ScriptedNode], session: aiohttp.ClientSession) -> None:
    """After one 429 with Retry-After nothing reaches that node, though it is not counted as broken."""
    pool = _pool(session, chain[:2], [1, 0])
    chain[0].outage = web.Response(status=429, headers={"Retry-After": "30"})
    await _ask(pool, 20)
    assert len(chain[0].questions) == 1
    assert (pool.slots[0].breaker.failures, pool.slots[0].state) == (0, BreakerState.CLOSED)
    alone = _pool(session, chain[:1])
    with pytest.raises(Unavailable):
        await alone.ask(_latest)
    asked = len(chain[0].questions)
    with pytest.raises(Unavailable):
        await alone.ask(_latest)
    assert len(chain[0].questions) == asked


async def test_a_short_rest_is_waited_for(chain: list[ScriptedNode], session: aiohttp.ClientSession) -> None:
    """Where the only node wants a second's rest, the question is put again after it instead of failing."""
    pool = _pool(session, chain[:1])
    chain[0].outage = web.Response(status=429, headers={"Retry-After": "1"})
    async with asyncio.timeout(60):
        asking = asyncio.ensure_future(pool.ask(_latest))
        while not chain[0].questions:
            await asyncio.sleep(0.01)
        chain[0].outage = None
        assert await asking is not None
    assert len(chain[0].questions) == 2


async def test_nobody_waits_longer_than_the_caller(session: aiohttp.ClientSession) -> None:
    """All attempts together end with the deadline of the request being served; the node is not blamed for it."""

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", silent)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        pool = NodePool.open([f"http://127.0.0.1:{runner.addresses[0][1]}"], session, 30.0)
        set_deadline(0.2)
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match="within 0"):
                await pool.ask(_latest)
        assert pool.slots[0].breaker.failures == 0
    finally:
        set_deadline(None)
        await runner.cleanup()


async def test_a_lagging_node_is_asked_last(chain: list[ScriptedNode], session: aiohttp.ClientSession) -> None:
    """A node that lacks more blocks than the bound gets no question while others answer."""
    pool = _pool(session, chain)
    del chain[2].blocks[7:]
    await NodeWatch(pool, (), 60).look()
    before = len(chain[2].questions)
    await _ask(pool, 30)
    assert len(chain[2].questions) == before
    chain[0].outage = chain[1].outage = web.Response(status=500)
    assert (await pool.ask(_latest)).height == 7  # type: ignore[union-attr]


async def test_another_block_at_a_settled_height_is_flagged(
    chain: list[ScriptedNode], session: aiohttp.ClientSession
) -> None:
    """The node on another branch is named, asked last, and cleared when it is back; one that lags is not named."""
    pool = _pool(session, chain)
    watch = NodeWatch(pool, (), 60)
    await watch.look()
    assert not any(slot.disagrees for slot in pool.slots)
    honest = list(chain[1].blocks)
    for height in range(7, 11):
        chain[1].add(height, fork="x", on_height=height - 1)
    chain[2].blocks.pop()
    await watch.look()
    assert [(slot.disagrees, slot.disagreements) for slot in pool.slots] == [(False, 0), (True, 1), (False, 0)]
    before = len(chain[1].questions)
    await _ask(pool, 20)
    assert len(chain[1].questions) == before
    chain[1].blocks[:] = honest
    await watch.look()
    assert [(slot.disagrees, slot.disagreements) for slot in pool.slots] == [(False, 0), (False, 1), (False, 0)]


async def test_another_nonce_is_flagged_when_it_stays(
    chain: list[ScriptedNode], session: aiohttp.ClientSession
) -> None:
    """A nonce that differs once may be a block not seen yet; the same one at the next look is a disagreement."""
    pool = _pool(session, chain)
    watch = NodeWatch(pool, (SCRIPTED_DEPLOYER,), 60)
    for node in chain:
        node.nonce = 7
    chain[2].nonce = 3
    await watch.look()
    assert not any(slot.disagrees for slot in pool.slots)
    chain[2].nonce = 5
    await watch.look()
    assert not any(slot.disagrees for slot in pool.slots)
    await watch.look()
    assert [slot.disagrees for slot in pool.slots] == [False, False, True]


@pytest.fixture
def settings(chain: list[ScriptedNode], database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the three nodes."""
    return scripted_settings(
        database_url,
        write_key(tmp_path / "key", 5),
        *(node.url for node in chain),
        node_lag_blocks=2,
        node_watch_seconds=0.05,
    )


async def test_a_node_on_an_abandoned_branch_takes_nobody_along(chain: list[ScriptedNode], settings: Settings) -> None:
    """When the node that was followed fails and the next one is stuck on a shorter branch, nothing is withdrawn."""
    for height in range(7, 10):
        chain[1].add(height, ScriptedTransaction(digest("stuck", height)), fork="x", on_height=height - 1)
    settings = dataclasses.replace(settings, node_lag_blocks=5, node_weights=("100", "1", "0"))
    async with running_gateway(settings) as running:
        assert (await running.tip(stacks_height=10)).block_hash == chain[0].blocks[-1].hash
        chain[0].outage = web.Response(status=500)
        asked = len(chain[1].questions)
        async with asyncio.timeout(60):
            while "/extended/v2/blocks" not in chain[1].questions[asked:]:
                await asyncio.sleep(0.01)
        chain[2].add(11)
        chain[1].outage = web.Response(status=500)
        assert (await running.tip(stacks_height=11)).block_hash == chain[2].blocks[-1].hash
        async with running.gateway.database.transaction() as session:
            withdrawn = (await session.exec(select(BlockRow).where(~col(BlockRow.canonical)))).all()
    assert withdrawn == []


async def test_the_node_that_was_followed_first_may_have_been_wrong(
    chain: list[ScriptedNode], settings: Settings
) -> None:
    """A branch that only one node ever had is left for that of the others, once, and not taken again."""
    for height in range(7, 11):
        chain[0].add(height, fork="x", on_height=height - 1)
    settings = dataclasses.replace(settings, node_weights=("1", "0", "0"), node_watch_seconds=0.2)
    async with running_gateway(settings, only=("state", "ingest")) as running:
        assert (await running.tip(stacks_height=10)).block_hash == chain[0].blocks[-1].hash
        await running.gateway.node_watch.look()
        for node in chain[1:]:
            node.add(11)
        assert (await running.tip(stacks_height=11)).block_hash == chain[1].blocks[-1].hash
        async with running.gateway.database.transaction() as session:
            withdrawn = (await session.exec(select(BlockRow).where(~col(BlockRow.canonical)))).all()
    assert sorted(block.stacks_height for block in withdrawn) == [7, 8, 9, 10]


async def _sync_state(running: RunningGateway, holds: Callable[[Sequence[pb.NodeState]], bool]) -> list[pb.NodeState]:
    """The nodes of the sync state once `holds` of them."""
    async with asyncio.timeout(60):
        while True:
            answer = await running.stub.GetSyncState(pb.GetSyncStateRequest(), metadata=SERVICE)
            if holds(answer.nodes):
                return list(answer.nodes)
            await asyncio.sleep(0.02)


async def test_the_sync_state_shows_each_node(chain: list[ScriptedNode], settings: Settings) -> None:
    """Breaker, weight, height, age of the tip, failures and disagreements of each, as this process sees them."""
    for height in range(7, 11):
        chain[1].add(height, fork="x", on_height=height - 1)
    settings = dataclasses.replace(settings, node_weights=("3", "1", "0"))
    async with running_gateway(settings) as running:
        await running.tip(stacks_height=10)
        told = await _sync_state(running, lambda nodes: nodes[1].disagrees)
        assert [one.disagrees for one in told] == [False, True, False]
        chain[2].outage = web.Response(status=500)
        first, second, third = await _sync_state(running, lambda nodes: nodes[2].breaker == pb.BREAKER_STATE_OPEN)
    assert (first.weight, second.weight, third.weight) == (3, 1, 0)
    assert (first.healthy, first.breaker, first.stacks_height) == (True, pb.BREAKER_STATE_CLOSED, 10)
    assert first.HasField("tip_age")
    assert (second.healthy, second.disagreements > 0) == (True, True)
    assert (third.healthy, third.consecutive_failures >= 5, "500" in third.last_error) == (False, True, True)


async def test_wrong_weights_stop_the_start(settings: Settings) -> None:
    """A weight too few, or one that is no number, is one clear error."""
    for weights in (("1",), ("1", "2", "x"), ("1", "2", "-3")):
        with pytest.raises(ValueError, match="NODE_WEIGHTS"):
            dataclasses.replace(settings, node_weights=weights)


async def test_calls_fail_in_time_when_no_node_answers(chain: list[ScriptedNode], settings: Settings) -> None:
    """A call with a deadline gets UNAVAILABLE or its deadline, never a wait beyond it."""
    async with running_gateway(settings) as running:
        await running.tip(stacks_height=10)
        for node in chain:
            node.outage = web.Response(status=500)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await running.stub.GetTransaction(pb.GetTransactionRequest(txid="ab" * 32), timeout=5)
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

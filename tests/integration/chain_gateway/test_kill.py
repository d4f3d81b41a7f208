"""A gateway that is killed in the middle of its work loses nothing and does nothing twice."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc
from bithedge.type.v1 import price_pb2

from kernel.ids import new_id
from tests.integration.chain_gateway.world import SERVICE, USD, World

_INTENTS = 40
_SECONDS = 60


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _process(world: World, database_url: str) -> AsyncIterator[Any]:
    """The stub of a gateway process, on a port of its own; the process is killed at the end."""
    port = _free_port()
    environment = {
        **os.environ,
        "LISTEN": f"127.0.0.1:{port}",
        "DATABASE_URL": database_url,
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "NODE_URLS": world.devnet.url,
        "CONTRACT_DEPLOYER": world.deployer,
        "BACKEND_SIGNERS": f"file:{world.backend_key}",
        "MARKET_CLOCK": "devnet",
        "POLL_INTERVAL_MS": "20",
        "PYTHONPATH": os.pathsep.join((".", "gen")),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.chain_gateway.gateway_process", env=environment
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield pb_grpc.ChainGatewayServiceStub(channel)
    finally:
        process.kill()
        await process.wait()


async def _events(stub: Any, count: int) -> list[chain_event_pb2.ChainEvent]:
    events: list[chain_event_pb2.ChainEvent] = []
    request = pb.WatchEventsRequest(finality=pb.EVENT_FINALITY_TIP)
    async for response in stub.WatchEvents(request, metadata=SERVICE, wait_for_ready=True):
        events.extend(event for event in response.events if event.HasField("price_published"))
        if len(events) >= count:
            break
    return events


async def test_a_killed_gateway_publishes_each_round_once(world: World, empty_database_url: str) -> None:
    """SIGKILL in the middle of forty intents, three times: each is confirmed, each round is published exactly once."""
    keys = [new_id() for _ in range(_INTENTS)]
    calls = []
    for number in range(_INTENTS):
        message = await world.round(price_pb2.FEED_BTC_USD, (50_000 + number) * USD)
        calls.append(pb.ContractCall(publish_price=pb.PublishPriceCall(round=message)))
    async with asyncio.timeout(_SECONDS):
        async with _process(world, empty_database_url) as stub:
            await anext(aiter(stub.WatchTip(pb.WatchTipRequest(), metadata=SERVICE, wait_for_ready=True)))
            for key, call in zip(keys, calls, strict=True):
                await stub.CreateIntent(pb.CreateIntentRequest(key=key, call=call), metadata=SERVICE)
        for wanted in (8, 24):
            async with _process(world, empty_database_url) as stub:
                await _events(stub, wanted)
        async with _process(world, empty_database_url) as stub:
            events = await _events(stub, _INTENTS)
            published = Counter(event.price_published.round.round for event in events)
            assert set(published.values()) == {1}
            await world.devnet.mine_burn_blocks(1)
            for key, call in zip(keys, calls, strict=True):
                await _confirmed(stub, key, call)


async def _confirmed(stub: Any, key: str, call: pb.ContractCall) -> None:
    answer = await stub.CreateIntent(pb.CreateIntentRequest(key=key, call=call), metadata=SERVICE)
    request = pb.WatchIntentRequest(name=answer.intent.name)
    async for response in stub.WatchIntent(request, metadata=SERVICE):
        intent = response.intent
    assert intent.state == pb.INTENT_STATE_CONFIRMED
    mined = [tx for tx in intent.transactions if tx.stacks_height]
    assert len(mined) == 1

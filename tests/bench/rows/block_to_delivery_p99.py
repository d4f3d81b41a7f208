"""From a block mined to its event in the hands of a `WatchEvents` reader, above the polling interval: p99.

One published price per block; blocks come at moments that have nothing to do with the polls, which are 100 ms apart.
The clock starts when the node says that the block is mined. The yardstick follows the same blocks at the same time with
the same interval: it polls, inserts one row, and tells the txid on a bare stream.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from services.chain_gateway.stacks.signer import KeySigner
from tests.bench.background import running
from tests.bench.chain import running_gateway, running_world
from tests.bench.histories import Account, open_account, price_calls
from tests.bench.processes import running_identity, running_yardstick
from tests.bench.row import Row, quantile, value_at_most
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.block_follower import METHOD
from tests.integration.chain_gateway.world import World
from tests.postgres import create_database

_POLL_MS = 100
_BLOCKS = 300
_WARM_UP = 10
_SECONDS = 30.0


async def measure(bench: Workbench) -> Row:
    """Both follow each block."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        database_url, other_url = await create_database(server_url), await create_database(server_url)
        world = await stack.enter_async_context(running_world(bench.folder))
        identity = await stack.enter_async_context(running_identity(bench.folder, database_url))
        gateway = await stack.enter_async_context(
            running_gateway(world, bench.folder, database_url, identity, POLL_INTERVAL_MS=str(_POLL_MS))
        )
        flags = ["--node", world.devnet.url, "--poll-ms", str(_POLL_MS), "--database", other_url]
        follower = await stack.enter_async_context(running_yardstick("block_follower", *flags))
        metadata = await identity.metadata("workflows")
        ours = await stack.enter_async_context(_arrivals(gateway, lambda channel: _events(channel, metadata)))
        theirs = await stack.enter_async_context(_arrivals(follower, _txids))
        backend = await stack.enter_async_context(open_account(world, KeySigner.from_file(world.backend_key)))
        return await _row(bench, world, backend, ours, theirs)


async def _row(bench: Workbench, world: World, backend: Account, ours: Arrivals, theirs: Arrivals) -> Row:
    moments = random.Random(1)
    late: tuple[list[float], list[float]] = ([], [])
    blocks = _BLOCKS * 3 if bench.full else _BLOCKS
    calls = await price_calls(world, _WARM_UP + blocks)
    for number, call in enumerate(calls, 1 - _WARM_UP):
        txid = await backend.hand_in(call)
        await asyncio.sleep(moments.random() * _POLL_MS / 1000)
        await world.devnet.mine_block()
        mined = time.perf_counter()
        seen = await asyncio.gather(ours.of(txid), theirs.of(txid))
        if number > 0:
            for kept, at in zip(late, seen, strict=True):
                kept.append((at - mined) * 1000)
        if number > 0 and number % 50 == 0:
            p50, p99 = (quantile(late[0], share) for share in (0.5, 0.99))
            bench.say(f"block {number} of {blocks}: p50 so far {p50:.1f} ms, p99 {p99:.1f} ms")
    value, yardstick = (quantile(one, 0.99) - _POLL_MS for one in late)
    notes = {"poll_ms": _POLL_MS, "p50_ms": round(quantile(late[0], 0.5), 1)}
    notes["p50_ms_yardstick"] = round(quantile(late[1], 0.5), 1)
    spreads = [(min(one) - _POLL_MS, max(one) - _POLL_MS) for one in late]
    return Row(value, yardstick, "ms", value_at_most(50.0), blocks, spreads[0], spreads[1], notes)


class Arrivals:
    """When each txid came."""

    def __init__(self) -> None:
        self._found: dict[str, asyncio.Future[float]] = {}

    async def of(self, txid: str) -> float:
        """The moment, as soon as it is known."""
        async with asyncio.timeout(_SECONDS):
            return await self._future(txid)

    def note(self, txid: str) -> None:
        """It is here now; what came before does not matter."""
        future = self._future(txid)
        if not future.done():
            future.set_result(time.perf_counter())

    def _future(self, txid: str) -> asyncio.Future[float]:
        return self._found.setdefault(txid, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def _arrivals(address: str, open_stream: Any) -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    async with grpc.aio.insecure_channel(address) as channel:

        async def read() -> None:
            async for txid in open_stream(channel):
                arrivals.note(txid)

        async with running(read()):
            yield arrivals


async def _events(channel: grpc.aio.Channel, metadata: Any) -> AsyncIterator[str]:
    stub: Any = pb_grpc.ChainGatewayServiceStub(channel)
    request = pb.WatchEventsRequest(finality=pb.EVENT_FINALITY_TIP)
    async for response in stub.WatchEvents(request, metadata=metadata):
        for event in response.events:
            yield event.txid


async def _txids(channel: grpc.aio.Channel) -> AsyncIterator[str]:
    watch: Any = channel.unary_stream(METHOD)
    async for txid in watch(b""):
        yield txid.decode()

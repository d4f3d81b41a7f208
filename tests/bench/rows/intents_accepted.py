"""Intents that the gateway accepts per second, beside a bare echo that inserts one row.

`CreateIntent` over gRPC with a real token, of price publications that the oracle really signed, each key new. The
gateway's dispatcher works meanwhile: it signs and broadcasts as many as the node takes, 25 per block of 5 s as on the
real chain. Its queue is emptied between samples, of which each fills it with 1,000: as many as it takes by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import asyncpg
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from kernel.ids import new_id
from services.chain_gateway.domain.confirmation import IntentState
from tests.bench.calls import Calls, calls_to, serialized
from tests.bench.chain import mining, running_gateway, running_world, signed_rounds
from tests.bench.processes import running_identity, running_yardstick
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.echo_server import METHOD
from tests.integration.chain_gateway.world import World
from tests.postgres import create_database

_COUNT = 1_000
_BLOCK_SECONDS = 5.0
_CREATE = "/bithedge.chain_gateway.v1.ChainGatewayService/CreateIntent"
_ROW_BYTES = "SELECT avg(pg_column_size(intent.*))::int FROM chain_gateway.intent"


async def measure(bench: Workbench) -> Row:
    """Ours and the echo in turns."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        database_url, other_url = await create_database(server_url), await create_database(server_url)
        world = await stack.enter_async_context(running_world(bench.folder))
        await stack.enter_async_context(mining(world.devnet, _BLOCK_SECONDS))
        identity = await stack.enter_async_context(running_identity(bench.folder, database_url))
        gateway = await stack.enter_async_context(
            running_gateway(world, bench.folder, database_url, identity, QUEUE_LIMIT="1000000")
        )
        bench.say("the chain and the gateway are up")
        calls = await stack.enter_async_context(calls_to(gateway, _CREATE, await identity.metadata("workflows")))
        database = await asyncpg.connect(database_url)
        stack.push_async_callback(database.close)
        answer = await calls.answer((await _requests(world, 1))[0])
        flags = ["--answer-bytes", str(len(answer)), "--database", other_url]
        flags += ["--insert-bytes", str(await database.fetchval(_ROW_BYTES))]
        echo = await stack.enter_async_context(running_yardstick("echo_server", *flags))
        bare = await stack.enter_async_context(calls_to(echo, METHOD))
        return await _row(bench, world, calls, bare, database)


async def _requests(world: World, count: int) -> list[bytes]:
    return serialized(_intents(await signed_rounds(world, count)))


def _intents(rounds: list[price_pb2.PriceRound]) -> Iterator[pb.CreateIntentRequest]:
    for one in rounds:
        call = pb.ContractCall(publish_price=pb.PublishPriceCall(round=one))
        yield pb.CreateIntentRequest(key=f"publish/btc/{one.round}/submit/{new_id()}", call=call, purpose="publish")


async def _row(bench: Workbench, world: World, calls: Calls, bare: Calls, database: asyncpg.Connection) -> Row:
    async def ours() -> float:
        requests = await _requests(world, _COUNT)
        await database.execute("DELETE FROM chain_gateway.intent WHERE state = $1", int(IntentState.QUEUED))
        await database.execute("VACUUM chain_gateway.intent")
        return await calls.rate(requests)

    async def yardstick() -> float:
        return await bare.rate(await _requests(world, _COUNT))

    samples = await bench.in_turns(ours, yardstick)
    dispatched = await database.fetchval("SELECT count(*) FROM chain_gateway.chain_transaction")
    notes = {"client_busy": calls.client_busy, "client_busy_yardstick": bare.client_busy, "dispatched": dispatched}
    return of_samples(*samples, "intents/s", at_least(0.5), notes)

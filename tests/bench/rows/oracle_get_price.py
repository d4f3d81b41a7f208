"""Latest prices read from the oracle per second, beside a bare echo of the same size.

`GetPrice` of BTC/USD over gRPC, of the oracle's own process with its gateway on a devnet whose market clock stands. No
token: everybody may ask.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from deploy.local.layout import REPOSITORY
from tests.bench.calls import Calls, calls_to
from tests.bench.chain import running_gateway, running_world
from tests.bench.processes import running_identity, running_service, running_yardstick
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.echo_server import METHOD
from tests.integration.chain_gateway.world import World
from tests.postgres import create_database

_COUNT = 5_000
_GET = "/bithedge.oracle.v1.OracleService/GetPrice"
_REQUEST = pb.GetPriceRequest(feed=price_pb2.FEED_BTC_USD).SerializeToString()
_FIRST_ROUND_SECONDS = 60.0


async def measure(bench: Workbench) -> Row:
    """Ours and the echo in turns."""
    async with AsyncExitStack() as stack:
        database_url = await create_database(stack.enter_context(bench.postgres()))
        world = await stack.enter_async_context(running_world(bench.folder))
        identity = await stack.enter_async_context(running_identity(bench.folder, database_url))
        gateway = await stack.enter_async_context(running_gateway(world, bench.folder, database_url, identity))
        settings = _settings(world, bench) | {
            "DATABASE_URL": database_url,
            "IDENTITY_ADDRESS": identity.address,
            "CHAIN_GATEWAY_ADDRESS": gateway,
            "SERVICE_SECRET_FILE": str(identity.keys.secret("oracle")),
        }
        oracle = await stack.enter_async_context(running_service("oracle", bench.folder, settings))
        calls = await stack.enter_async_context(calls_to(oracle, _GET))
        size = len(await _first_price(calls))
        echo = await stack.enter_async_context(running_yardstick("echo_server", "--answer-bytes", str(size)))
        bare = await stack.enter_async_context(calls_to(echo, METHOD))
        requests = [_REQUEST] * _COUNT
        samples = await bench.in_turns(lambda: calls.rate(requests), lambda: bare.rate(requests))
        busy = {"client_busy": calls.client_busy, "client_busy_yardstick": bare.client_busy}
        return of_samples(*samples, "calls/s", at_least(0.8), busy)


def _settings(world: World, bench: Workbench) -> dict[str, str]:
    return {
        # Nothing is published: a round that waits for it is one more row of the outbox.
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
        "ORACLE_KEY_FILE": str(bench.folder / "oracle"),
        "CHAIN_ID": "2147483648",
        "NETWORK": "testnet",
        "CONTRACT_DEPLOYER": world.deployer,
        "PRICE_SOURCE": "replay",
        "PRICE_DATA": str(REPOSITORY / "data"),
    }


async def _first_price(calls: Calls) -> bytes:
    async with asyncio.timeout(_FIRST_ROUND_SECONDS):
        while True:
            answer = await calls.answer(_REQUEST)
            if pb.GetPriceResponse.FromString(answer).price.status == pb.PRICE_STATUS_OK:
                return answer
            await asyncio.sleep(0.1)

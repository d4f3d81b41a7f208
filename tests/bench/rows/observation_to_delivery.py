"""From observations that are to be had to the price in the hands of a `WatchPrice` reader, median.

The oracle's own process: its sources have new observations when market time moves on, which the gateway's stand-in in
this process tells it. Then both feeds are observed and aggregated, both rounds are committed, told to whoever listens,
read, and sent. The yardstick inserts one row and tells it on a bare stream. A reader of each waits all the time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from tests.bench.oracle import Readers, open_readers, running_oracle
from tests.bench.processes import running_yardstick
from tests.bench.row import Row, of_samples, quantile
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.fan_out_server import TELL, WATCH
from tests.integration.oracle.gateway import GatewayStandIn
from tests.postgres import create_database

_TURNS: Final = 50
_ROUND_SECONDS: Final = 60
_WATCH_PRICE: Final = "/bithedge.oracle.v1.OracleService/WatchPrice"
_REQUEST: Final = pb.WatchPriceRequest(feed=price_pb2.FEED_BTC_USD).SerializeToString()


async def measure(bench: Workbench) -> Row:
    """Ours and the bare one in turns."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        database_url, other_url = await create_database(server_url), await create_database(server_url)
        address, gateway = await stack.enter_async_context(running_oracle(bench, database_url))
        ours = await stack.enter_async_context(open_readers(address, _WATCH_PRICE, _REQUEST, 1))
        bare_address = await stack.enter_async_context(running_yardstick("fan_out_server", "--database", other_url))
        bare = await stack.enter_async_context(open_readers(bare_address, WATCH, b"", 1))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(bare_address))
        samples = await bench.in_turns(
            partial(_of_ours, ours, gateway), partial(_of_bare, bare, channel), _TURNS * (3 if bench.full else 1)
        )
        notes = {
            "p99_ms": round(quantile(samples[0], 0.99), 1),
            "p99_ms_yardstick": round(quantile(samples[1], 0.99), 1),
        }
        return of_samples(*samples, "ms", None, notes)


async def _of_ours(readers: Readers, gateway: GatewayStandIn) -> float:
    reading = asyncio.ensure_future(readers.next_arrivals())
    began = time.perf_counter()
    await gateway.advance(_ROUND_SECONDS)
    return ((await reading)[0][0] - began) * 1000


async def _of_bare(readers: Readers, channel: grpc.aio.Channel) -> float:
    tell: Any = channel.unary_unary(TELL)
    reading = asyncio.ensure_future(readers.next_arrivals())
    began = time.perf_counter()
    await tell(bytes(64))
    return ((await reading)[0][0] - began) * 1000

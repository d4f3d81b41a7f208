"""From a price committed to the last of 1,000 `WatchPrice` readers, beside a bare fan-out to as many streams.

The oracle's own process. The clock starts before the commit of a round, which this process stores as the leader of
another replica would: the notification, the query and the fan-out are in the figure. The bare server fans out the same
bytes, which one call brings, from memory; its clock starts before that call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from kernel.database import Database
from services.oracle import store
from services.oracle.domain.prices import Feed, Price, PriceStatus, Round, boundary_time
from tests.bench.oracle import START, Readers, open_readers, running_oracle
from tests.bench.processes import running_yardstick
from tests.bench.row import Row, at_most, of_samples
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.fan_out_server import TELL, WATCH
from tests.postgres import create_database

_STREAMS: Final = 1_000
_TURNS: Final = 21
_WATCH_PRICE: Final = "/bithedge.oracle.v1.OracleService/WatchPrice"
_REQUEST: Final = pb.WatchPriceRequest(feed=price_pb2.FEED_BTC_USD).SerializeToString()
_LAST_READER_MS: Final = 50.0


async def measure(bench: Workbench) -> Row:
    """Ours and the bare one in turns, all streams of both open all the time."""
    async with AsyncExitStack() as stack:
        database_url = await create_database(stack.enter_context(bench.postgres()))
        address, _ = await stack.enter_async_context(running_oracle(bench, database_url))
        prices = _Prices(Database(database_url))
        stack.push_async_callback(prices.database.close)
        ours = await stack.enter_async_context(open_readers(address, _WATCH_PRICE, _REQUEST, _STREAMS))
        size = len(await prices.watched(ours))
        bare_address = await stack.enter_async_context(running_yardstick("fan_out_server"))
        bare = await stack.enter_async_context(open_readers(bare_address, WATCH, b"", _STREAMS))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(bare_address))
        tell = partial(_tell, channel, bytes(size))
        turns = _TURNS * (3 if bench.full else 1)
        samples = await bench.in_turns(
            lambda: _last_reader_ms(ours, prices.commit_next), lambda: _last_reader_ms(bare, tell), turns
        )
        notes = {"streams": _STREAMS, "answer_bytes": size}
        return of_samples(*samples, "ms", at_most(1.3, _LAST_READER_MS), notes)


async def _tell(channel: grpc.aio.Channel, body: bytes) -> float:
    """Has the bare server fan out; the moment before."""
    call: Any = channel.unary_unary(TELL)
    began = time.perf_counter()
    await call(body)
    return began


class _Prices:
    """Rounds of the next minutes, stored as the leader stores them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._round = int(START.timestamp())

    async def watched(self, readers: Readers) -> bytes:
        """What one reader gets of a price."""
        reading = asyncio.ensure_future(readers.next_arrivals())
        await self.commit_next()
        return (await reading)[1]

    async def commit_next(self) -> float:
        """Stores one; the moment before its commit."""
        self._round += 60
        time_of_round = boundary_time(self._round)
        values = (PriceStatus.OK, "", 8_000_00000000, 3_00000000, time_of_round, time_of_round, 2_576, False)
        async with self.database.transaction() as session:
            await store.insert_rounds(session, [Round(Price(Feed.BTC_USD, self._round, *values), [])])
            return time.perf_counter()


async def _last_reader_ms(readers: Readers, tell: Callable[[], Awaitable[float]]) -> float:
    reading = asyncio.ensure_future(readers.next_arrivals())
    # Every reader waits before there is anything to read.
    for _ in range(3):
        await asyncio.sleep(0)
    began = await tell()
    return ((await reading)[0][-1] - began) * 1000

"""How fast the gateway's process takes in the events of a chain, beside raw inserts of the same rows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg

from services.chain_gateway.store_chain import STATE_CHANNEL
from tests.bench.background import running
from tests.bench.chain import running_gateway, running_world
from tests.bench.histories import stacks_height
from tests.bench.processes import Identity, running_identity
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.integration.chain_gateway.world import World
from tests.postgres import create_database

_POOL: Final = 10
_STATE: Final = "SELECT stacks_height, latest_sequence FROM chain_gateway.chain_state"
_SECONDS: Final = 120.0
_TURNS: Final = 5


async def ingestion_row(bench: Workbench, history: Callable[[World], Awaitable[int]]) -> Row:
    """`history` fills a chain and answers the height of the block before what counts."""
    async with contextlib.AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        world = await stack.enter_async_context(running_world(bench.folder))
        identity = await stack.enter_async_context(running_identity(bench.folder, await create_database(server_url)))
        before = await history(world)
        bench.say("the chain is full")
        _, database_url = await _ingested_per_second(bench, world, identity, server_url, before)
        inserts = await stack.enter_async_context(_RawInserts.of_events(database_url))

        async def ours() -> float:
            return (await _ingested_per_second(bench, world, identity, server_url, before))[0]

        samples = await bench.in_turns(ours, inserts.per_second, _TURNS)
        return of_samples(*samples, "events/s", at_least(0.5), {"events": inserts.count})


async def _ingested_per_second(
    bench: Workbench, world: World, identity: Identity, server_url: str, before: int
) -> tuple[float, str]:
    """Events per second from the commit of the block `before` to that of the tip, by a gateway that starts on an empty
    database; and that database."""
    database_url = await create_database(server_url)
    tip = await stacks_height(world)
    async with (
        _committed(database_url) as committed,
        running_gateway(world, bench.folder, database_url, identity, START_STACKS_HEIGHT=str(before)),
        asyncio.timeout(_SECONDS),
    ):
        start: tuple[float, int] | None = None
        while True:
            at, height, sequence = await committed.get()
            start = start or (at, sequence)
            if height == tip:
                return (sequence - start[1]) / (at - start[0]), database_url


@contextlib.asynccontextmanager
async def _committed(database_url: str) -> AsyncIterator[asyncio.Queue[tuple[float, int, int]]]:
    """Time, height and number of the last event, each time the gateway has committed blocks."""
    listener = await asyncpg.connect(database_url)
    reader = await asyncpg.connect(database_url)
    found: asyncio.Queue[tuple[float, int, int]] = asyncio.Queue()
    woken: asyncio.Queue[float] = asyncio.Queue()
    await listener.add_listener(STATE_CHANNEL, lambda *_: woken.put_nowait(time.perf_counter()))

    async def read() -> None:
        while True:
            at = await woken.get()
            row = await reader.fetchrow(_STATE)
            assert row is not None
            found.put_nowait((at, row["stacks_height"], row["latest_sequence"]))

    try:
        async with running(read()):
            yield found
    finally:
        await listener.close()
        await reader.close()


class _RawInserts:
    """Single-row inserts with raw asyncpg, each its own transaction, over ten connections."""

    def __init__(self, pool: Any, rows: Sequence[Sequence[Any]], statement: str) -> None:
        self._pool = pool
        self._rows = rows
        self._statement = statement

    @classmethod
    @contextlib.asynccontextmanager
    async def of_events(cls, database_url: str) -> AsyncIterator[_RawInserts]:
        """Into a table like the gateway's, with its indexes; the rows are its own."""
        async with asyncpg.create_pool(database_url, min_size=_POOL, max_size=_POOL) as pool:
            await pool.execute("CREATE TABLE event_copy (LIKE chain_gateway.event INCLUDING ALL)")
            rows = await pool.fetch("SELECT * FROM chain_gateway.event ORDER BY sequence")
            names = list(rows[0].keys())
            places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
            statement = f"INSERT INTO event_copy ({', '.join(names)}) VALUES ({places})"
            yield cls(pool, [tuple(row.values()) for row in rows], statement)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    async def per_second(self) -> float:
        """Inserts per second into the emptied table."""
        await self._pool.execute("TRUNCATE event_copy")
        waiting = iter(self._rows)

        async def worker() -> None:
            async with self._pool.acquire() as connection:
                statement = await connection.prepare(self._statement)
                for row in waiting:
                    await statement.fetch(*row)

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(_POOL)))
        return len(self._rows) / (time.perf_counter() - start)

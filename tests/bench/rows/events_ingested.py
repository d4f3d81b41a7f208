"""Events that the gateway ingests per second, beside raw inserts of the same rows.

From the node's HTTP to committed rows, by the gateway's own process that starts on an empty database, over blocks of 25
published prices with one event each: the most transactions per event that the chain can hold.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.bench.chain import running_world
from tests.bench.histories import publish_prices
from tests.bench.ingestion import RawInserts, ingested_per_second
from tests.bench.processes import running_identity
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.postgres import create_database

_EVENTS = 3_000
_TURNS = 5


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        world = await stack.enter_async_context(running_world(bench.folder))
        identity = await stack.enter_async_context(running_identity(bench.folder, await create_database(server_url)))
        before = await publish_prices(world, _EVENTS)
        bench.say(f"{_EVENTS} prices are published")
        _, ingested = await ingested_per_second(bench, world, identity, server_url, before)
        inserts = await stack.enter_async_context(RawInserts.of_events(ingested))

        async def ours() -> float:
            return (await ingested_per_second(bench, world, identity, server_url, before))[0]

        return of_samples(*await bench.in_turns(ours, inserts.per_second, _TURNS), "events/s", at_least(0.5))

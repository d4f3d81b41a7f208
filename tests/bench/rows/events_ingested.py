"""Events that the gateway ingests per second, beside raw inserts of the same rows.

From the node's HTTP to committed rows, by the gateway's own process that starts on an empty database, over blocks of 25
published prices with one event each: the most transactions per event that the chain can hold.
"""

from __future__ import annotations

from tests.bench.histories import publish_prices
from tests.bench.ingestion import ingestion_row
from tests.bench.row import Row
from tests.bench.workbench import Workbench

# So many that the start of the process, whose first statements are compiled and prepared, is a small part.
_EVENTS = 12_000


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    return await ingestion_row(bench, lambda world: publish_prices(world, _EVENTS))

"""Events that the gateway ingests per second where they are densest, beside raw inserts of the same rows.

As `events_ingested`, over blocks that each hold one `expire-policies` transaction of 200 policies with two events each.
"""

from __future__ import annotations

from tests.bench.expiries import expire_batches
from tests.bench.ingestion import ingestion_row
from tests.bench.row import Row
from tests.bench.workbench import Workbench

_BATCHES = 5


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    return await ingestion_row(bench, lambda world: expire_batches(world, _BATCHES))

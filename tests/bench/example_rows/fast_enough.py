"""A rate twice its yardstick."""

from __future__ import annotations

from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench


async def measure(bench: Workbench) -> Row:
    """Known samples."""
    bench.say("measures nothing")
    return of_samples([180.0, 200.0, 210.0], [90.0, 100.0, 130.0], "calls/s", at_least(0.5), {"seen": 1})

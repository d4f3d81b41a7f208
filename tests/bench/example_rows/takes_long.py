"""A row without a goal, of the long suite alone."""

from __future__ import annotations

from tests.bench.row import Row
from tests.bench.workbench import Workbench

FULL_ONLY = True


async def measure(bench: Workbench) -> Row:
    """Known figures."""
    return Row(-1.0, 3.0, "ms", samples=21 if bench.full else 7)

"""A row that cannot be measured."""

from __future__ import annotations

from tests.bench.row import Row
from tests.bench.workbench import Workbench


async def measure(bench: Workbench) -> Row:
    """Says why."""
    raise RuntimeError("there is nothing to measure here")

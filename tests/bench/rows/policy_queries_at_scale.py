"""p99 of each query of policies, and of a provider's statement, among a million policies and 100,000 providers.

The yardstick is the same query among a thousand policies and a hundred providers, asked in turns. Calls go over gRPC
to processes of their own, one in flight, each for another policy, holder, window or provider. The row is the query
whose p99 grew most; its notes have all of them.
"""

from __future__ import annotations

import statistics
from typing import Final

from tests.bench.row import Row, at_most, of_samples
from tests.bench.scale import QUERIES, platforms
from tests.bench.workbench import Workbench

FULL_ONLY = True
_CALLS: Final = 400
_TURNS: Final = 7


async def measure(bench: Workbench) -> Row:
    """Each query in turns of both platforms."""
    samples = {}
    async with platforms(bench) as (large, small):
        for name in QUERIES:
            async with large.query(name) as many, small.query(name) as few:
                samples[name] = await bench.in_turns(lambda: many.p99(_CALLS), lambda: few.p99(_CALLS), _TURNS)
    medians = {
        name: (statistics.median(ours), statistics.median(yardstick)) for name, (ours, yardstick) in samples.items()
    }
    notes = {
        name: f"{ours:.2f} ms at 1,000,000, {yardstick:.2f} ms at 1,000, ratio {ours / yardstick:.2f}"
        for name, (ours, yardstick) in medians.items()
    }
    worst = max(medians, key=lambda name: medians[name][0] / medians[name][1])
    return of_samples(*samples[worst], "ms p99", at_most(1.5), {"worst": worst, **notes})

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
    samples, middles = {}, {}
    async with platforms(bench) as (large, small):
        for name in QUERIES:
            async with large.query(name) as many, small.query(name) as few:
                samples[name] = await bench.in_turns(lambda: many.p99(_CALLS), lambda: few.p99(_CALLS), _TURNS)
                middles[name] = (statistics.median(many.taken), statistics.median(few.taken))
    high = {name: (statistics.median(ours), statistics.median(other)) for name, (ours, other) in samples.items()}
    notes = {name: f"p99 {_beside(*high[name])}; median {_beside(*middles[name])}" for name in QUERIES}
    worst = max(high, key=lambda name: high[name][0] / high[name][1])
    return of_samples(*samples[worst], "ms p99", at_most(1.5), {"worst": worst, **notes})


def _beside(large: float, small: float) -> str:
    return f"{large:.2f} ms at 1,000,000, {small:.2f} at 1,000, ratio {large / small:.2f}"

"""p99 of each query of policies, of a provider's statements and of balances at a height, at scale.

Among a million policies and 100,000 providers. The yardstick is the same query among a thousand policies and a hundred
providers. Calls go over gRPC to processes of their own, one in flight; both sides ask for as many different policies,
holders, windows, heights or providers, and answers hold as many rows. Every key is asked for once before the clock
counts; then some calls of one side alternate with as many of the other, so that whatever else the machine does meets
both. The row is the query whose p99 grew most; its notes have all of them.
"""

from __future__ import annotations

import statistics
from typing import Final

from tests.bench.row import Row, at_most, quantile
from tests.bench.scale import KEYS, QUERIES, Query, platforms
from tests.bench.workbench import Workbench

FULL_ONLY = True
# Two thousand calls of each side: twenty of them are slower than the p99.
_TURNS: Final = 50
_CALLS: Final = 40
Times = list[float]


async def measure(bench: Workbench) -> Row:
    """Each query on both platforms in turns."""
    taken, firsts = {}, {}
    async with platforms(bench) as (large, small):
        for name in QUERIES:
            async with large.query(name) as many, small.query(name) as few:
                firsts[name] = await many.milliseconds(KEYS), await few.milliseconds(KEYS)
                taken[name] = await _in_turns(many, few)
                bench.say(f"{name}: {_described(taken[name], firsts[name])}")
    ratios = {name: _p99(large) / _p99(small) for name, (large, small) in taken.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    ours, yardstick = taken[worst]
    notes = {name: _described(taken[name], firsts[name]) for name in QUERIES}
    spreads = _spread(ours), _spread(yardstick)
    return Row(
        _p99(ours), _p99(yardstick), "ms p99", at_most(1.5), len(ours), *spreads, notes={"worst": worst, **notes}
    )


async def _in_turns(many: Query, few: Query) -> tuple[Times, Times]:
    times: tuple[Times, Times] = ([], [])
    sides = ((many, times[0]), (few, times[1]))
    for turn in range(_TURNS):
        for query, kept in sides if turn % 2 else sides[::-1]:
            kept += await query.milliseconds(_CALLS)
    return times


def _p99(times: Times) -> float:
    return quantile(times, 0.99)


def _spread(times: Times) -> tuple[float, float]:
    """The lowest and highest p99 of a fifth of the calls."""
    fifth = len(times) // 5
    parts = [_p99(times[at : at + fifth]) for at in range(0, fifth * 5, fifth)]
    return min(parts), max(parts)


def _described(taken: tuple[Times, Times], firsts: tuple[Times, Times]) -> str:
    medians = statistics.median(taken[0]), statistics.median(taken[1])
    asked_first = f"each key asked for the first time: p99 {_beside(*map(_p99, firsts))}"
    return f"p99 {_beside(*map(_p99, taken))}; median {_beside(*medians)}; {asked_first}"


def _beside(large: float, small: float) -> str:
    return f"{large:.2f} ms at 1,000,000, {small:.2f} at 1,000, ratio {large / small:.2f}"

"""Time of a plain American put, beside QuantLib's FdBlackScholesVanillaEngine at equal error.

Over 24 puts the largest error of ours is measured against QuantLib's high-precision QdFpAmericanEngine; the yardstick's
grid is the coarsest whose largest error is no larger, or the finest that was tried, as the notes say.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count, cycle, product

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token
from tests.bench.quantlib import Vanilla, finite_differences, reference
from tests.bench.row import Row, of_samples
from tests.bench.timing import milliseconds_each
from tests.bench.workbench import Workbench

_PUTS = [
    Vanilla(100.0, strike, volatility, 0.05, days)
    for strike, volatility, days in product((80.0, 95.0, 100.0, 110.0), (0.4, 0.8), (7, 30, 180))
]
_GRIDS = (25, 50, 100, 200, 400, 800)
# So far below the spot that no path reaches it: the cap has no say.
_FLOOR = 1e-3
_COUNT = 4 * len(_PUTS)


async def measure(bench: Workbench) -> Row:
    """Errors first, then times in turns."""
    exact = [reference(put) for put in _PUTS]
    error = max(abs(_ours(put) - value) for put, value in zip(_PUTS, exact, strict=True))
    bench.say(f"largest error of ours: {error:.2e} per 100 of spot")
    grid, theirs = _GRIDS[-1], 0.0
    for grid in _GRIDS:
        theirs = max(abs(finite_differences(put, grid) - value) for put, value in zip(_PUTS, exact, strict=True))
        bench.say(f"largest error of theirs on {grid} by {grid}: {theirs:.2e}")
        if theirs <= error:
            break
    puts = cycle(_PUTS)
    fresh = count()

    def put() -> Vanilla:
        # A volatility of its own, so that nothing solved for another helps it.
        chosen = next(puts)
        return replace(chosen, volatility=chosen.volatility + 1e-9 * next(fresh))

    async def ours() -> float:
        return milliseconds_each(_COUNT, lambda: _ours(put()))

    async def yardstick() -> float:
        return milliseconds_each(_COUNT, lambda: finite_differences(put(), grid))

    notes = {"error_of_spot": error / 100, "error_of_spot_yardstick": theirs / 100, "grid_yardstick": grid}
    return of_samples(*await bench.in_turns(ours, yardstick), "ms", notes=notes)


def _ours(put: Vanilla) -> float:
    terms = PolicyTerms(Token.STX, put.strike, _FLOOR)
    return value_policy(terms, put.spot, put.volatility, put.rate, put.days / 365).american

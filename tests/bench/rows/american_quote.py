"""Time of one American quote: the model value of a capped put that may be exercised at any time, on one core.

Each quote has a volatility of its own, so that nothing solved for another helps it. The yardstick is QuantLib's finite
differences for the put without its cap, on its usual grid of 100 by 100.
"""

from __future__ import annotations

from itertools import count

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token
from tests.bench.quantlib import Vanilla, finite_differences
from tests.bench.row import Row, of_samples, value_at_most
from tests.bench.timing import milliseconds_each
from tests.bench.workbench import Workbench

_COUNT = 300
_RATE = 0.04
_TERMS = PolicyTerms(Token.SBTC, 48_000.0, 36_000.0)


async def measure(bench: Workbench) -> Row:
    """Ours and theirs in turns."""
    fresh = count()

    def volatility() -> float:
        return 0.6 + 1e-9 * next(fresh)

    async def ours() -> float:
        return milliseconds_each(_COUNT, lambda: value_policy(_TERMS, 50_000.0, volatility(), _RATE, 30 / 365).american)

    async def yardstick() -> float:
        return milliseconds_each(
            _COUNT, lambda: finite_differences(Vanilla(50_000.0, 48_000.0, volatility(), _RATE, 30), 100)
        )

    return of_samples(*await bench.in_turns(ours, yardstick), "ms", value_at_most(3.0))

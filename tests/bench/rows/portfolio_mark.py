"""Time of a mark of 10,000 policies, each at a strike, floor, time and volatility of its own, on one core.

The yardstick is QuantLib's closed form of the same policies one after the other: without interest, as premiums are
priced, a policy is a put that knocks out at its floor. The notes say how far the two are apart, and what the mark costs
with interest, where no closed form is.
"""

from __future__ import annotations

import numpy as np

from kernel.pricing import Portfolio, mark_portfolio
from kernel.pricing.normal import Array
from tests.bench.quantlib import Vanilla, knock_out
from tests.bench.row import Row, of_samples, value_at_most
from tests.bench.timing import milliseconds_each
from tests.bench.workbench import Workbench

_POLICIES = 10_000
_SPOT = 50_000.0
_RATE = 0.04


async def measure(bench: Workbench) -> Row:
    """Ours and theirs in turns."""
    portfolio, volatilities, days = _book()

    def theirs() -> list[float]:
        rows = zip(portfolio.strike_usd, portfolio.floor_usd, volatilities, days, strict=True)
        return [
            knock_out(Vanilla(_SPOT, float(strike), float(volatility), 0.0, int(left)), float(floor))
            for strike, floor, volatility, left in rows
        ]

    async def ours() -> float:
        return milliseconds_each(1, lambda: mark_portfolio(portfolio, _SPOT, volatilities, 0.0))

    async def yardstick() -> float:
        return milliseconds_each(1, theirs)

    apart = np.abs(mark_portfolio(portfolio, _SPOT, volatilities, 0.0).american - np.array(theirs())).max() / _SPOT
    with_interest = milliseconds_each(1, lambda: mark_portfolio(portfolio, _SPOT, volatilities, _RATE))
    notes = {"policies": _POLICIES, "apart_of_spot": float(apart), "ms_with_interest": round(with_interest, 1)}
    return of_samples(*await bench.in_turns(ours, yardstick), "ms", value_at_most(2_000.0), notes)


def _book() -> tuple[Portfolio, Array, Array]:
    random = np.random.default_rng(20)
    strikes = _SPOT * random.uniform(0.7, 1.1, _POLICIES)
    floors = np.minimum(strikes * random.uniform(0.5, 0.9, _POLICIES), 0.99 * _SPOT)
    days = random.integers(1, 180, _POLICIES).astype(np.float64)
    is_sbtc = random.random(_POLICIES) < 0.5
    return Portfolio(is_sbtc, strikes, floors, days / 365), random.uniform(0.5, 1.3, _POLICIES), days

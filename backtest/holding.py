"""Where providers would not have ended ahead: every period of a length that someone could have been in the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PERIODS_DAYS: Final = (30, 90, 180, 365)


@dataclass(frozen=True)
class Holding:
    """All periods of one length: the part that ended with a loss, and the worst of them. Returns are parts of one."""

    tier: str
    days: int
    periods: int
    part_with_loss: float
    worst_return: float
    worst_from: str
    worst_until: str


def holdings(tier: str, equity: Sequence[tuple[str, float]]) -> list[Holding]:
    """One row per length that the history holds; `equity` is the worth of one unit, day by day."""
    found = []
    for days in PERIODS_DAYS:
        pairs = list(zip(equity, equity[days:], strict=False))
        if not pairs:
            continue
        returns = [(later / earlier - 1.0, start, end) for (start, earlier), (end, later) in pairs]
        worst, start, end = min(returns)
        losing = sum(1 for value, _, _ in returns if value < 0.0)
        found.append(Holding(tier, days, len(returns), losing / len(returns), worst, start, end))
    return found

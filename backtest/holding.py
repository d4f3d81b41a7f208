"""Where providers would not have ended ahead: every period of a length that someone could have been in the pool."""

from __future__ import annotations

import datetime as dt
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
    """One row per length that the history holds; `equity` is the worth of one unit on the days recorded, in order.

    Lengths are by the calendar: a period counts where the days of both its ends were recorded.
    """
    found, by_day = [], dict(equity)
    for days in PERIODS_DAYS:
        ends = [(start, _later(start, days)) for start in by_day]
        returns = [(by_day[end] / by_day[start] - 1.0, start, end) for start, end in ends if end in by_day]
        if not returns:
            continue
        worst, start, end = min(returns)
        losing = sum(1 for value, _, _ in returns if value < 0.0)
        found.append(Holding(tier, days, len(returns), losing / len(returns), worst, start, end))
    return found


def _later(day: str, days: int) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=days)).isoformat()

"""Which rounds are due: one at each multiple of the observation interval in market time, also those that a jump
of market time passed over, up to a bound."""

from __future__ import annotations

import datetime as dt
from typing import Final

MOST_ROUNDS: Final = 2_880


def due_rounds(last: int | None, now: dt.datetime, interval_seconds: int, catch_up_seconds: int) -> range:
    """Numbers of the rounds after `last` up to market time `now`, ascending.

    No more than `catch_up_seconds` back, nor more than MOST_ROUNDS: what lies before was never observed, and there is
    no fresh price until they are made, for rounds are made in order. Before the first round only the
    newest boundary is due.
    """
    newest = int(now.timestamp() // interval_seconds) * interval_seconds
    if last is None:
        return range(newest, newest + 1, interval_seconds)
    after_last = (last // interval_seconds + 1) * interval_seconds
    earliest = newest - min(catch_up_seconds // interval_seconds, MOST_ROUNDS) * interval_seconds
    return range(max(after_last, earliest), newest + 1, interval_seconds)

"""What one source said in the last minutes of market time, so that a round may ask for its own moment."""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass
from typing import Final

from services.oracle.domain.prices import Rejection

KEPT: Final = dt.timedelta(minutes=15)
"""How long a reading is kept after its time; nothing older is of use to a round."""
# One of each second, and as many changes between good and bad: no source fills the memory.
_MOST_KEPT: Final = 2 * 15 * 60


@dataclass(frozen=True)
class Reading:
    """A price in units of 1e-8 of the quote currency, or why there is none; `time` is market time, never later than
    its receipt."""

    time: dt.datetime
    price_e8: int
    fault: Rejection | None = None


class ReadingHistory:
    """The readings of one market, and what hinders new ones."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age = dt.timedelta(seconds=max_age_seconds)
        self._readings: deque[Reading] = deque(maxlen=_MOST_KEPT)
        self._trouble: tuple[dt.datetime, Rejection] | None = None

    def add(self, reading: Reading) -> None:
        """A reading came. One is kept of each second of market time, and every change between good and bad, as long
        as there are not more of them than seconds."""
        last = self._readings[-1] if self._readings else None
        if last is not None and last.fault == reading.fault and _second(last.time) == _second(reading.time):
            self._readings.pop()
        self._readings.append(reading)
        self._trouble = None
        while self._readings[0].time < reading.time - KEPT:
            self._readings.popleft()

    def fail(self, time: dt.datetime, fault: Rejection) -> None:
        """An attempt to read failed. What was read before counts until it is too old."""
        since = time if self._trouble is None else self._trouble[0]
        self._trouble = (since, fault)

    def at(self, time: dt.datetime) -> Reading:
        """The newest reading at or before a market time; what hinders the source, once that is too old.

        NO_READING where nothing was tried yet at that time.
        """
        found = next((one for one in reversed(self._readings) if one.time <= time), None)
        if found is not None and time - found.time <= self._max_age:
            return found
        if self._trouble is not None and self._trouble[0] <= time:
            return Reading(time, 0, self._trouble[1])
        return found or Reading(time, 0, Rejection.NO_READING)


def _second(time: dt.datetime) -> dt.datetime:
    return time.replace(microsecond=0)

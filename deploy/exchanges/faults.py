"""What may go wrong at an exchange, on command."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """One way to go wrong. The first group hinders answers, the second is in what they say."""

    CUT_OFF = "cut_off"
    SLOW = "slow"
    RATE_LIMITED = "rate_limited"
    SILENT = "silent"
    GARBAGE = "garbage"
    NESTED = "nested"
    NAN = "nan"
    TEXT = "text"
    NEGATIVE = "negative"
    ZERO = "zero"
    HUGE = "huge"
    CROSSED = "crossed"
    ONE_SIDED = "one_sided"
    FUTURE = "future"
    ANCIENT = "ancient"


HINDRANCES = frozenset({Fault.CUT_OFF, Fault.SLOW, Fault.RATE_LIMITED, Fault.SILENT, Fault.GARBAGE, Fault.NESTED})
"""Faults of a whole answer. SILENT hinders the websocket only; SLOW answers no request while it lasts."""

ANY = "*"


@dataclass(frozen=True)
class Place:
    """Where a fault is; `ANY` is everywhere. `transport` is `rest` or `websocket`; `pair` as in `BTC/USD`."""

    exchange: str
    pair: str = ANY
    transport: str = ANY

    def covers(self, exchange: str, pair: str, transport: str) -> bool:
        """True if the fault is also there; a request about no pair in particular meets only faults of every pair."""
        return all(
            mine in (ANY, theirs)
            for mine, theirs in ((self.exchange, exchange), (self.pair, pair), (self.transport, transport))
        )


class FaultBoard:
    """The faults that last now."""

    def __init__(self) -> None:
        self._faults: dict[Place, Fault] = {}

    def set(self, place: Place, fault: Fault | None) -> None:
        """Begins a fault at a place, or ends it."""
        self._faults.pop(place, None)
        if fault is not None:
            self._faults[place] = fault

    def clear(self) -> None:
        """Ends every fault."""
        self._faults.clear()

    def at(self, exchange: str, pair: str, transport: str) -> Fault | None:
        """The fault of an answer about a pair; the latest that was set."""
        return next(self._found(exchange, pair, transport), None)

    def _found(self, exchange: str, pair: str, transport: str) -> Iterator[Fault]:
        return (fault for place, fault in reversed(self._faults.items()) if place.covers(exchange, pair, transport))

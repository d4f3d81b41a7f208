"""A circuit breaker: what fails again and again is left alone for a while, then tried with one question.

Pure: times are seconds of any clock that never goes back, given by the caller.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class BreakerState(enum.IntEnum):
    """States of a breaker; the values are those of the API."""

    CLOSED = 1
    OPEN = 2
    HALF_OPEN = 3


@dataclass(frozen=True)
class BreakerPolicy:
    """Opens after so many failures in a row, for `first_seconds`; each failed probe doubles that up to the longest."""

    failures: int = 5
    first_seconds: float = 1.0
    longest_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to ask once. What comes of it is told with it; it counts only in the era in which it was given."""

    era: int
    probe: bool


class Breaker:
    """Closed: everything may pass. Open: nothing. Half-open: one question, which decides."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._era = 0
        self._open_until: float | None = None
        self._rest_seconds = self._policy.first_seconds
        self._probing = False
        self.failures = 0

    def state(self, now: float) -> BreakerState:
        """The state at a time."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def opens_in(self, now: float) -> float:
        """Seconds until something may pass again; 0 when it may, or when a probe that is under way decides."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def admits(self, now: float) -> bool:
        """Whether `take` would give a permit."""
        state = self.state(now)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._probing)

    def take(self, now: float) -> Permit | None:
        """Leave to ask, or None. Each permit is given back by exactly one of the next three."""
        if not self.admits(now):
            return None
        probe = self.state(now) is BreakerState.HALF_OPEN
        self._probing = probe
        return Permit(self._era, probe)

    def succeeded(self, permit: Permit) -> None:
        """There was an answer: a probe's closes the breaker, any other's ends a row of failures."""
        if permit.era != self._era:
            return
        self.failures = 0
        if permit.probe:
            self._probing = False
            self._open_until = None
            self._rest_seconds = self._policy.first_seconds
            self._era += 1

    def failed(self, permit: Permit, now: float) -> None:
        """There was none: one too many, or a probe's, opens the breaker."""
        if permit.era != self._era:
            return
        self.failures += 1
        if permit.probe:
            self._rest_seconds = min(self._policy.longest_seconds, 2 * self._rest_seconds)
        if permit.probe or self.failures >= self._policy.failures:
            self._probing = False
            self._open_until = now + self._rest_seconds
            self._era += 1

    def released(self, permit: Permit) -> None:
        """Nobody waited for what came of it: as if it had not been asked."""
        if permit.era == self._era and permit.probe:
            self._probing = False

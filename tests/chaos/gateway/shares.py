"""Whether a play was one: faults in roughly the shares that were asked for, kills, forks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from tests.chaos.gateway import weather

_LOST: Final = ("broadcast.lose_request", "broadcast.lose_answer", "broadcast.forget")
_DUPLICATED: Final = ("broadcast.duplicate",)
_ERRORS: Final = ("http.429", "http.500", "http.garbage", "http.slow", "http.hangup")
# A right share misses this once in 30,000 plays.
_DEVIATIONS: Final = 4.0


def shortcomings(kills: int, forks: int, drawn: Mapping[str, int], injected: Mapping[str, int]) -> list[str]:
    """What weather and killer left undone. A play that has any proves nothing."""
    found = [] if kills else ["no gateway was killed"]
    found += [] if forks else ["there was no fork"]
    for of in ("broadcast", "http"):
        if not any(count for kind, count in injected.items() if kind.startswith(f"{of}.")):
            found.append(f"there was no fault of kind {of}")
    for what, of, kinds, share in (
        ("broadcasts lost", "broadcast", _LOST, weather.BROADCASTS_LOST),
        ("broadcasts duplicated", "broadcast", _DUPLICATED, weather.BROADCASTS_DUPLICATED),
        ("requests that met an error", "http", _ERRORS, weather.NODE_ERRORS),
    ):
        total, met = drawn.get(of, 0), sum(injected.get(kind, 0) for kind in kinds)
        if not is_share(met, total, share):
            found.append(f"{what}: {met} of {total}, {share:.0%} were to be")
    return found


def is_share(met: int, total: int, share: float) -> bool:
    """Whether `met` of `total` is as many as chance gives with this probability; of few it may be none."""
    deviation = math.sqrt(total * share * (1 - share))
    return abs(met - total * share) <= _DEVIATIONS * deviation

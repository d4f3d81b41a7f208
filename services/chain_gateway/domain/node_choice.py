"""Which of several nodes is asked first, and which of them tells something else than the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
AnswerT = TypeVar("AnswerT", bound=Hashable)
_ENOUGH_TO_DOUBT: Final = 3


@dataclass(frozen=True)
class HealthBounds:
    """Behind is who lacks more than `lag_blocks`, or whose tip has not moved for `tip_age_seconds`."""

    lag_blocks: int = 5
    tip_age_seconds: float = 120.0


@dataclass(frozen=True)
class Standing:
    """What is known of one node. A `weight` of 0 is a stand-by; height and age are None until it told its tip."""

    weight: int = 1
    stacks_height: int | None = None
    tip_age_seconds: float | None = None
    disagrees: bool = False


def best_height(heights: Sequence[int]) -> int:
    """The height to measure lag by: of three or more the second highest, since one alone may claim any height."""
    ordered = sorted(heights, reverse=True)
    return ordered[1] if len(ordered) >= _ENOUGH_TO_DOUBT else max(ordered, default=0)


def is_behind(standing: Standing, best: int, bounds: HealthBounds) -> bool:
    """Whether a node lacks blocks that others have, or its tip stands still."""
    lags = standing.stacks_height is not None and best - standing.stacks_height > bounds.lag_blocks
    stands_still = standing.tip_age_seconds is not None and standing.tip_age_seconds > bounds.tip_age_seconds
    return lags or stands_still


def order(standings: Sequence[Standing], bounds: HealthBounds, draw: Callable[[], float]) -> list[int]:
    """The order in which to ask, as places in `standings`: the sound before those behind, stand-bys after the others
    of their kind, and among equals by lot in proportion to weight. `draw` gives numbers from 0 to 1.

    The lot is Efraimidis and Spirakis' (2006): draws to the power of 1 / weight, the largest first.
    """
    best = best_height([one.stacks_height for one in standings if one.stacks_height is not None])

    def rank(place: int) -> tuple[bool, bool, float]:
        standing = standings[place]
        lot = draw() ** (1 / standing.weight) if standing.weight else draw()
        return is_behind(standing, best, bounds) or standing.disagrees, standing.weight == 0, -lot

    return sorted(range(len(standings)), key=rank)


def dissenters(answers: Mapping[KeyT, AnswerT]) -> frozenset[KeyT]:
    """Who answered otherwise than more than half of all; everybody when no answer has that many."""
    counted = Counter(answers.values()).most_common(1)
    if not counted:
        return frozenset()
    answer, votes = counted[0]
    if 2 * votes <= len(answers):
        return frozenset(answers) if len(answers) > 1 else frozenset()
    return frozenset(who for who, told in answers.items() if told != answer)

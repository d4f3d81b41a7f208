"""Plays walks, finds what breaks a rule, and makes the failing walk as short as it can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.contracts.fuzz.player import check_all, check_end
from tests.contracts.fuzz.plays_power import PLAYS
from tests.contracts.fuzz.step import Step
from tests.contracts.fuzz.violation import Violation
from tests.contracts.fuzz.world import Stage, World

_CHECK_EVERY: Final = 25


@dataclass(frozen=True)
class Failure:
    """A walk that broke a rule: its steps up to there, the rule, and what happened, call by call."""

    steps: tuple[Step, ...]
    rule: str
    log: tuple[str, ...]


def walk(stage: Stage, steps: Sequence[Step], worlds: Callable[[World], None] = lambda world: None) -> Failure | None:
    """Plays a walk from the stage's start; `worlds` is given the world at its end."""
    world = stage.world()
    taken = 0
    try:
        for step in steps:
            taken += 1
            PLAYS[step.play](world, step)
            if taken % _CHECK_EVERY == 0:
                check_all(world)
        check_end(world)
    except Violation as broken:
        return Failure(tuple(steps[:taken]), str(broken), tuple(world.log))
    finally:
        worlds(world)
    return None


def shrunk(stage: Stage, failure: Failure) -> Failure:
    """The shortest failing walk that leaving out steps leads to (ddmin: Zeller and Hildebrandt, 2002)."""
    best, parts = failure, 2
    while len(best.steps) > 1:
        size = -(-len(best.steps) // parts)
        for start in range(0, len(best.steps), size):
            found = walk(stage, best.steps[:start] + best.steps[start + size :])
            if found is not None:
                best, parts = found, max(parts - 1, 2)
                break
        else:
            if parts >= len(best.steps):
                return best
            parts = min(2 * parts, len(best.steps))
    return best

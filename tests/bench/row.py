"""One row of the benchmark: a figure of ours, its yardstick, and what was hoped for."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class GoalKind(StrEnum):
    """What a goal bounds, and from which side."""

    RATIO_AT_LEAST = "ratio at least"
    RATIO_AT_MOST = "ratio at most"
    VALUE_AT_MOST = "value at most"


ABOUT: Final[Mapping[str, str]] = {
    "name": "the row's module under tests/bench/rows/, whose docstring says what is measured",
    "value": "ours, in `unit`: the median of the samples, unless the name says another quantile",
    "unit": "of value, yardstick and both spreads",
    "yardstick": "the same quantity of the program that ours is compared with, measured in turns with it",
    "ratio": "value / yardstick; null when either is zero or below",
    "goal": "a bound on what `goal_kind` says; null when there is none",
    "goal_kind": " | ".join(GoalKind),
    "value_goal": "the most that `value` may be besides; null when nothing is said of it",
    "met": "whether the bound holds; true without a goal",
    "samples": "how many samples of each side stand behind the medians",
    "spread": "lowest and highest sample of ours; null when there is only one",
    "yardstick_spread": "the same of the yardstick",
    "notes": "what else was seen in the same run",
}


@dataclass(frozen=True)
class Goal:
    """A bound, and where it is one on the ratio perhaps another on the value."""

    kind: GoalKind
    bound: float
    value_bound: float | None = None

    def is_met(self, value: float, ratio: float | None) -> bool:
        """Whether the bounds hold. A ratio that does not exist meets none."""
        if self.value_bound is not None and value > self.value_bound:
            return False
        if self.kind is GoalKind.VALUE_AT_MOST:
            return value <= self.bound
        if ratio is None:
            return False
        return ratio >= self.bound if self.kind is GoalKind.RATIO_AT_LEAST else ratio <= self.bound


def at_least(ratio: float) -> Goal:
    """Ours at least so many times the yardstick: for rates."""
    return Goal(GoalKind.RATIO_AT_LEAST, ratio)


def at_most(ratio: float, value: float | None = None) -> Goal:
    """Ours at most so many times the yardstick, and at most `value` in the row's unit: for times."""
    return Goal(GoalKind.RATIO_AT_MOST, ratio, value)


def value_at_most(bound: float) -> Goal:
    """Ours at most so much, in the row's unit, whatever the yardstick does."""
    return Goal(GoalKind.VALUE_AT_MOST, bound)


@dataclass(frozen=True)
class Row:
    """What one module measured. `value` and `yardstick` are in `unit`."""

    value: float
    yardstick: float
    unit: str
    goal: Goal | None = None
    samples: int = 1
    spread: tuple[float, float] | None = None
    yardstick_spread: tuple[float, float] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours in yardsticks."""
        return self.value / self.yardstick if self.value > 0 and self.yardstick > 0 else None

    @property
    def met(self) -> bool:
        """Whether the goal holds; true without one."""
        return self.goal is None or self.goal.is_met(self.value, self.ratio)

    def as_json(self, name: str) -> dict[str, Any]:
        """The row as the file has it."""
        return {
            "name": name,
            "value": _short(self.value),
            "unit": self.unit,
            "yardstick": _short(self.yardstick),
            "ratio": None if self.ratio is None else _short(self.ratio),
            "goal": None if self.goal is None else self.goal.bound,
            "goal_kind": None if self.goal is None else str(self.goal.kind),
            "value_goal": None if self.goal is None else self.goal.value_bound,
            "met": self.met,
            "samples": self.samples,
            "spread": _ends(self.spread),
            "yardstick_spread": _ends(self.yardstick_spread),
            "notes": dict(self.notes),
        }


def of_samples(
    ours: Sequence[float],
    yardstick: Sequence[float],
    unit: str,
    goal: Goal | None = None,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Row:
    """A row of medians over as many samples of the yardstick as of ours."""
    return Row(
        statistics.median(ours),
        statistics.median(yardstick),
        unit,
        goal,
        len(ours),
        (min(ours), max(ours)),
        (min(yardstick), max(yardstick)),
        notes,
    )


def quantile(samples: Sequence[float], share: float) -> float:
    """The least sample that at least `share` of them do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def _short(number: float) -> float:
    """Five significant digits: the machine knows no more."""
    return float(f"{number:.5g}")


def _ends(spread: tuple[float, float] | None) -> list[float] | None:
    return None if spread is None else [_short(spread[0]), _short(spread[1])]

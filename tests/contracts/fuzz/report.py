"""What the walks reached: how often each public function succeeded and was refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.contracts.access import RULES
from tests.contracts.fuzz.world import World

# Below this share of its calls, a function's successes are accidents, and what is built on them says little.
_LEAST_SHARE: Final = 0.05
# What shows that the walks come to the rarer ends as well.
EFFECTS: Final = ("ended 1", "ended 2", "abandoned", "delayed and paid", "relayed")


@dataclass
class Report:
    """Sums over walks."""

    walks: int = 0
    calls: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, world: World) -> None:
        """Counts a walk."""
        self.walks += 1
        self.calls += world.calls
        self.seen += world.seen

    def join(self, other: Report) -> None:
        """Counts what another report counted."""
        self.walks += other.walks
        self.calls += other.calls
        self.seen += other.seen

    def succeeded(self, function: str) -> int:
        """How many calls of a function succeeded."""
        return self.seen[f"{function}: ok"]

    def refused(self, function: str) -> int:
        """How many calls of a function were refused."""
        return self.seen[f"{function}: refused"]

    def share(self, function: str) -> float:
        """Which part of the calls of a function succeeded."""
        return self.succeeded(function) / max(1, self.succeeded(function) + self.refused(function))

    def missing(self, least: int) -> list[str]:
        """What the walks did too seldom to say anything about: fewer than `least` successes or refusals."""
        found = []
        for rule in RULES:
            if rule.may and self.succeeded(rule.function) < least:
                found.append(f"{rule.function} succeeded {self.succeeded(rule.function)} times")
            if rule.may and self.share(rule.function) < _LEAST_SHARE:
                found.append(f"{rule.function} succeeded in {self.share(rule.function):.1%} of its calls")
            if self.refused(rule.function) < least and rule.error:
                found.append(f"{rule.function} was refused {self.refused(rule.function)} times")
        return found + [f"{one}: {self.seen[one]} times" for one in EFFECTS if self.seen[one] < least]

    def text(self) -> str:
        """A table, one line per function."""
        lines = [f"{'function':<32}{'succeeded':>10}{'refused':>10}{'share':>8}"]
        for rule in RULES:
            ok, refused = self.succeeded(rule.function), self.refused(rule.function)
            lines.append(f"{rule.function:<32}{ok:>10}{refused:>10}{self.share(rule.function):>8.0%}")
        return "\n".join((*lines, "  ".join(f"{one}: {self.seen[one]}" for one in EFFECTS)))

"""A step of a walk as data, so that a walk can be printed, shrunk and played again; and how steps are drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.contracts.fuzz.world import ACTORS

FLAWS: Final = ("forged", "former", "tampered", "elsewhere", "replayed", "malleable", "stale")
WHO: Final = (*ACTORS, "between")
# How often each play is drawn. The three functions of the registry never succeed; they are tried all the same.
WEIGHTS: Final = {
    "wait": 14,
    "gift": 2,
    "price": 8,
    "publish-price": 8,
    "deposit-to-pool": 6,
    "withdraw-from-pool": 10,
    "veto-voucher": 2,
    "withdraw-fees": 3,
    "skim-excess": 3,
    "lock-collateral-aggregate": 1,
    "pay-policy": 1,
    "release-collateral-aggregate": 1,
    "create-policy-entry": 18,
    "request-activation": 4,
    "settle-policy": 12,
    "expire-policies": 8,
    "expire-abandoned-policies": 3,
    "set-parameter": 5,
    "again": 8,
    "keys": 6,
    "pause": 2,
    "unpause": 5,
    "propose-admin": 2,
    "accept-admin": 2,
    "cancel-change": 2,
}


@dataclass(frozen=True)
class Step:
    """What to play, by whom ("right" or one of WHO), which flaw its paper has ("" none), and four free numbers."""

    play: str
    who: str = "right"
    flaw: str = ""
    numbers: tuple[int, int, int, int] = (0, 0, 0, 0)


def drawn(chance: Random, length: int) -> list[Step]:
    """A walk of some steps. Three of four are by the right person, three of four papers are as they should be."""
    plays = chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=length)
    return [_step(chance, one) for one in plays]


def _step(chance: Random, play: str) -> Step:
    numbers = tuple(chance.randrange(1_000_000) for _ in range(4))
    who = chance.choice(WHO) if chance.randrange(4) == 0 else "right"
    flaw = chance.choice(FLAWS) if chance.randrange(4) == 0 else ""
    return Step(play, who, flaw, (numbers[0], numbers[1], numbers[2], numbers[3]))


def to_text(steps: Sequence[Step]) -> str:
    """One line per step, for `from_text`."""
    return "\n".join(json.dumps([one.play, one.who, one.flaw, *one.numbers]) for one in steps)


def from_text(text: str) -> list[Step]:
    """The steps of a text that `to_text` gave."""
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [Step(play, who, flaw, (a, b, c, d)) for play, who, flaw, a, b, c, d in rows]

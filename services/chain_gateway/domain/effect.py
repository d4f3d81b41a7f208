"""What the chain's state means for an intent that was not sent yet: whether its effect is there, or cannot be any more.

Only what is final ends an intent. What a block says that may still be withdrawn makes it wait.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.chain_gateway.domain.confirmation import IntentState

EFFECT_BY_OTHERS: Final = "EFFECT_BY_OTHERS"
"""The reason of an intent that is CONFIRMED without a transaction of its own."""


class Fact(enum.Enum):
    """What the chain says of the one thing that an intent is about: a round, or a policy."""

    OPEN = "nothing speaks against sending"
    DONE = "the effect is there"
    IMPOSSIBLE = "something else happened instead, for good"


@dataclass(frozen=True)
class Seen:
    """A fact, why it is one, and whether it is final."""

    fact: Fact
    reason: str = ""
    final: bool = True


@dataclass(frozen=True)
class Finding:
    """What to do instead of sending: end in `end`, or wait while it is None."""

    end: IntentState | None
    reason: str


def finding(seen: Sequence[Seen]) -> Finding | None:
    """What follows for an intent about these things, all at once; None: send it, for something is left to do."""
    if not seen or any(one.fact is Fact.OPEN for one in seen):
        return None
    waiting = next((one for one in seen if not one.final), None)
    if waiting is not None:
        return Finding(None, waiting.reason)
    impossible = next((one for one in seen if one.fact is Fact.IMPOSSIBLE), None)
    if impossible is not None:
        return Finding(IntentState.CANCELLED, impossible.reason)
    return Finding(IntentState.CONFIRMED, EFFECT_BY_OTHERS)

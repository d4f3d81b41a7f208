"""What a backend key may be used for, and how that changes: a visible table, and what must hold for each step."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kernel.errors import FailedPrecondition


class KeyState(enum.IntEnum):
    """States of a key, as in the API."""

    ACTIVE = 1
    PREFERRED = 2
    DRAINING = 3
    REMOVED = 4

    @property
    def takes_work(self) -> bool:
        """Whether new transactions may be given to it, as far as we decide."""
        return self in (KeyState.ACTIVE, KeyState.PREFERRED)


class Step(enum.Enum):
    """What an operator does to a key."""

    ACTIVATE = "activate"
    PREFER = "prefer"
    DRAIN = "drain"
    REMOVE = "remove"


TRANSITIONS: Final[Mapping[tuple[Step, KeyState], KeyState]] = {
    (Step.ACTIVATE, KeyState.ACTIVE): KeyState.ACTIVE,
    (Step.ACTIVATE, KeyState.DRAINING): KeyState.ACTIVE,
    (Step.ACTIVATE, KeyState.REMOVED): KeyState.ACTIVE,
    (Step.PREFER, KeyState.ACTIVE): KeyState.PREFERRED,
    (Step.PREFER, KeyState.PREFERRED): KeyState.PREFERRED,
    (Step.DRAIN, KeyState.ACTIVE): KeyState.DRAINING,
    (Step.DRAIN, KeyState.DRAINING): KeyState.DRAINING,
    (Step.REMOVE, KeyState.DRAINING): KeyState.REMOVED,
    (Step.REMOVE, KeyState.REMOVED): KeyState.REMOVED,
}
"""Every step that is possible. The preferred key cannot be drained: another is preferred first."""


@dataclass(frozen=True)
class KeyFacts:
    """What decides about a step besides the state."""

    is_chain_principal: bool
    open_transactions: int


def after(step: Step, state: KeyState, facts: KeyFacts) -> KeyState:
    """The state after a step; FailedPrecondition, with the reason, when it is not possible now."""
    result = TRANSITIONS.get((step, state))
    if result is None:
        raise FailedPrecondition("KEY_STATE", f"one cannot {step.value} a key that is {state.name}", state=state.name)
    if result.takes_work and not facts.is_chain_principal:
        raise FailedPrecondition("KEY_NOT_PRINCIPAL", "the parameter contract does not know this key at the tip")
    if result is KeyState.REMOVED:
        if facts.open_transactions:
            count = facts.open_transactions
            raise FailedPrecondition("KEY_IN_USE", f"{count} of its transactions are open", open_transactions=count)
        if facts.is_chain_principal:
            raise FailedPrecondition("KEY_STILL_PRINCIPAL", "the parameter contract still knows this key at the tip")
    return result

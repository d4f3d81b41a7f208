"""What became of a policy whose row was held against the final events of the chain."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from services.policy.domain.policy import Policy, Transition
from services.policy.domain.transitions import OPEN, Cause, PolicyState

# A lost row may have had versions beyond the last line of its history: a handful for each line.
VERSIONS_LOST = 1_000
# What each change sets, whatever it is about.
_OF_EVERY_CHANGE = frozenset({"version", "update_time"})


class Outcome(enum.StrEnum):
    """The API's names without their prefix."""

    HEALED = "HEALED"
    RESTORED = "RESTORED"
    NOTHING_MISSED = "NOTHING_MISSED"
    NOT_ON_CHAIN = "NOT_ON_CHAIN"
    CREATED_AFTER_FAILURE = "CREATED_AFTER_FAILURE"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Healed:
    """The outcome, and which fields of the row it changed."""

    policy_id: str
    outcome: Outcome
    changed_fields: tuple[str, ...] = ()


def changed_fields(before: Policy, after: Policy) -> tuple[str, ...]:
    """Names of what differs, but for what every change sets."""
    return tuple(
        field.name
        for field in fields(Policy)
        if field.name not in _OF_EVERY_CHANGE and getattr(before, field.name) != getattr(after, field.name)
    )


def believed_state(policy: Policy, history: Sequence[Transition]) -> PolicyState:
    """Where the books themselves had brought the policy: not its row's state only if that was written by hand."""
    return history[-1].to_state if history else policy.state


def counted(policy: Policy, believed: PolicyState, payout_base_units: int) -> Policy:
    """The policy as the platform figures have it: they follow its history, not its row."""
    paid = payout_base_units if believed is PolicyState.SETTLED else 0
    return replace(policy, state=believed, payout_base_units=paid)


def is_refuted(state: PolicyState, history: Sequence[Transition], proven_end: PolicyState | None) -> bool:
    """True if the row's state is neither what the events say of a policy that they created, nor on the way there.

    `proven_end` is None where they have not ended it. Books that ended an unpaid quote never saw its creation; those
    that noted a creation after its end leave it to a person.
    """
    if state in (PolicyState.SETTLED, PolicyState.EXPIRED):
        return state is not proven_end
    if state in OPEN or not history:
        return False
    return state is not history[-1].to_state or history[-1].cause == Cause.QUOTE_NOT_PAID

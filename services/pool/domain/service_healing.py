"""What the policy service may put right in its own books, and what a difference that is left then comes from."""

from __future__ import annotations

import enum
from typing import Final

from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference
from services.pool.domain.terms import SERVICE_DIFFERS

_CAUSES: Final = (LikelyCause.SERVICE_MISSED_EVENT, LikelyCause.SERVICE_AHEAD)


class HealingOutcome(enum.StrEnum):
    """What became of a policy that the service was asked to heal; the API's names without their prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    HEALED = "HEALED"
    RESTORED = "RESTORED"
    NOTHING_MISSED = "NOTHING_MISSED"
    NOT_ON_CHAIN = "NOT_ON_CHAIN"
    CREATED_AFTER_FAILURE = "CREATED_AFTER_FAILURE"
    REFUSED = "REFUSED"


def is_of_service(difference: Difference) -> bool:
    """True if it is the policy service whose books differ."""
    return difference.cause in _CAUSES or difference.kind == SERVICE_DIFFERS


def cause_after(difference: Difference, outcome: HealingOutcome | None) -> LikelyCause:
    """Of a difference that is left after the service was asked, or was not (None)."""
    if outcome in (None, HealingOutcome.UNSPECIFIED) or not is_of_service(difference):
        return difference.cause
    if outcome is HealingOutcome.CREATED_AFTER_FAILURE:
        return LikelyCause.CREATED_AFTER_FAILURE
    if outcome is HealingOutcome.REFUSED:
        return LikelyCause.SERVICE_REFUSED
    if difference.cause is LikelyCause.SERVICE_AHEAD and outcome is HealingOutcome.NOT_ON_CHAIN:
        return LikelyCause.SERVICE_AHEAD
    return LikelyCause.NOT_FROM_EVENTS

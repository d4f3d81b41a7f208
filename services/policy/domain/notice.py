"""What a holder is told of their policies, and by which change."""

from __future__ import annotations

import enum
from typing import Final

from services.policy.domain.policy import Policy, Transition
from services.policy.domain.transitions import Cause, PolicyState

# So many burn blocks before the last height of activation a holder is reminded: about a day, and about three hours.
NEAR_EXPIRY_BLOCKS: Final = (144, 18)
# A policy that crosses its strike to and fro is told of once in so many burn blocks, counted from height zero.
IN_THE_MONEY_BLOCKS: Final = 144


class NoticeKind(enum.StrEnum):
    """What has happened; the API's names without their prefix."""

    QUOTED = "QUOTED"
    CREATION_FAILED = "CREATION_FAILED"
    ACTIVE = "ACTIVE"
    IN_THE_MONEY = "IN_THE_MONEY"
    NEAR_EXPIRY = "NEAR_EXPIRY"
    ACTIVATED = "ACTIVATED"
    ACTIVATION_PAYS_NOTHING = "ACTIVATION_PAYS_NOTHING"
    SETTLEMENT_DELAYED = "SETTLEMENT_DELAYED"
    SETTLED = "SETTLED"
    EXPIRED = "EXPIRED"
    REORGANISED = "REORGANISED"


_BY_TARGET: Final = {
    PolicyState.PENDING_CREATION: NoticeKind.QUOTED,
    PolicyState.FAILED_CREATION: NoticeKind.CREATION_FAILED,
    PolicyState.SETTLING: NoticeKind.ACTIVATED,
    PolicyState.FAILED_SETTLEMENT: NoticeKind.SETTLEMENT_DELAYED,
    PolicyState.SETTLED: NoticeKind.SETTLED,
    PolicyState.EXPIRED: NoticeKind.EXPIRED,
}
_BY_CAUSE: Final = {
    Cause.CREATED_ON_CHAIN: NoticeKind.ACTIVE,
    Cause.OUT_OF_THE_MONEY: NoticeKind.ACTIVATION_PAYS_NOTHING,
    Cause.REFUSED_BEFORE_EXPIRATION: NoticeKind.SETTLEMENT_DELAYED,
    Cause.REORGANISED: NoticeKind.REORGANISED,
    # An operator's doing: the holder's activation is the same as before.
    Cause.SETTLEMENT_RETRIED: None,
    # Our books were wrong, and not what the holder has.
    Cause.PROVEN_BY_CHAIN: None,
}


def notice_of(transition: Transition) -> NoticeKind | None:
    """What the holder is told of a transition; None where it is our own housekeeping, as in a batch of expiry."""
    cause = transition.cause.partition(":")[0]
    if cause in _BY_CAUSE:
        return _BY_CAUSE[Cause(cause)]
    if transition.from_state is transition.to_state:
        return None
    return _BY_TARGET.get(transition.to_state)


def amount_of(kind: NoticeKind, policy: Policy) -> int:
    """The amount that a notice is about, in base units of the policy's token; zero where there is none."""
    if kind is NoticeKind.QUOTED:
        return policy.premium_base_units + policy.fee_base_units
    return policy.payout_base_units if kind is NoticeKind.SETTLED else 0

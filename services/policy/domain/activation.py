"""Activation requests: when they were made, whether they were in time, what their receipt decides."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Final

from kernel.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from services.policy.domain.errors import Reason, expired, not_active
from services.policy.domain.policy import Policy
from services.policy.domain.transitions import PolicyState

# A tip that no node has confirmed for so long cannot judge a request.
STALE_TIP: Final = dt.timedelta(minutes=30)
SIGNATURE_BYTES: Final = 65


class ActivationState(enum.StrEnum):
    """Where one activation stands."""

    # Recorded while the tip was unknown or stale; its burn height is not known yet.
    UNJUDGED = "UNJUDGED"
    # In time; its receipt is awaited.
    OPEN = "OPEN"
    # Judged too late, or overtaken by the policy's end.
    REFUSED = "REFUSED"
    OUT_OF_THE_MONEY = "OUT_OF_THE_MONEY"
    IN_THE_MONEY = "IN_THE_MONEY"


@dataclass(frozen=True)
class Activation:
    """One request to exercise, and the signed receipt that decides it (serialized, empty while awaited)."""

    policy_id: str
    number: int
    state: ActivationState
    request_time: dt.datetime
    request_market_time: dt.datetime
    request_burn_height: int = 0
    btc_round: int = 0
    stx_round: int = 0
    receipt: bytes = b""
    receive_time: dt.datetime | None = None


@dataclass(frozen=True)
class KnownTip:
    """What a request is judged by."""

    burn_height: int
    market_time: dt.datetime
    # Wall time of the last answer of a node.
    refresh_time: dt.datetime

    def is_stale(self, now: dt.datetime) -> bool:
        """True if the tip is too old, at wall time `now`, to judge a request."""
        return now - self.refresh_time > STALE_TIP


@dataclass(frozen=True)
class ReceiptFacts:
    """What a receipt says, apart from its bytes."""

    policy_name: str
    activation_number: int
    btc_price_usd_e8: int
    stx_price_usd_e8: int
    burn_height: int
    signature: bytes


def market_time_at(now: dt.datetime, tip: KnownTip | None) -> dt.datetime:
    """Market time at wall time `now`: the tip's, moved on by what has passed since a node last answered.

    In production, where market time is wall time, that is exactly `now`. The market time last seen would be
    earlier: a receipt could use a price that the holder already knew, and an old price would seem fresh.
    """
    if tip is None:
        return now
    passed = max(now - tip.refresh_time, dt.timedelta(0))
    return tip.market_time if tip.market_time > now else min(now, tip.market_time + passed)


def check_activatable(policy: Policy, tip: KnownTip | None, now: dt.datetime) -> bool:
    """True if the request is in time, False if only the projector can judge it; FailedPrecondition if refused."""
    if policy.state is not PolicyState.ACTIVE:
        raise not_active(policy.state)
    if policy.unjudged_activation:
        raise FailedPrecondition(Reason.ACTIVATION_PENDING, "an earlier request is not judged yet")
    if tip is not None and tip.burn_height > policy.expiration_burn_height:
        raise expired(policy.expiration_burn_height, tip.burn_height)
    return tip is not None and not tip.is_stale(now)


def check_receipt(policy: Policy, activation: Activation, facts: ReceiptFacts, receipt: bytes) -> bool:
    """False if this receipt is stored already; True if it is new and decides this activation. Raises otherwise.

    A policy that has a receipt in the money, such as for a request that its holder made on chain, is settled on that
    alone: it decides every later activation too.
    """
    if activation.receipt:
        if activation.receipt != receipt:
            raise AlreadyExists(Reason.RECEIPT_DIFFERS, "another receipt is stored for this activation")
        return False
    if facts.btc_price_usd_e8 <= 0 or facts.stx_price_usd_e8 <= 0:
        raise InvalidArgument.of("receipt", "both prices must be above zero", Reason.RECEIPT_MISMATCH)
    if len(facts.signature) != SIGNATURE_BYTES:
        raise InvalidArgument.of("receipt.signature", "expected 65 bytes", Reason.RECEIPT_MISMATCH)
    _check_purpose(policy, activation, facts)
    return True


def _check_purpose(policy: Policy, activation: Activation, facts: ReceiptFacts) -> None:
    if facts.policy_name != policy.name:
        raise InvalidArgument.of("receipt.activation", "is of another policy", Reason.RECEIPT_MISMATCH)
    if facts.activation_number == activation.number:
        if facts.burn_height != activation.request_burn_height:
            raise InvalidArgument.of(
                "receipt.burn_height", f"the request is of {activation.request_burn_height}", Reason.RECEIPT_MISMATCH
            )
    elif not 0 < facts.burn_height <= policy.expiration_burn_height:
        raise InvalidArgument.of("receipt.burn_height", "is after the expiration", Reason.RECEIPT_MISMATCH)

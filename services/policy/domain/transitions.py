"""The lifecycle of a policy as a table: from, to, who may, why. docs/policy_states.md is made from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from kernel.errors import FailedPrecondition
from services.policy.domain.errors import Reason


class PolicyState(enum.StrEnum):
    """Lifecycle of a policy; what the contract says is `OnchainState`."""

    PENDING_CREATION = "PENDING_CREATION"
    ACTIVE = "ACTIVE"
    SETTLING = "SETTLING"
    EXPIRING = "EXPIRING"
    SETTLED = "SETTLED"
    EXPIRED = "EXPIRED"
    FAILED_CREATION = "FAILED_CREATION"
    FAILED_SETTLEMENT = "FAILED_SETTLEMENT"


class Actor(enum.StrEnum):
    """Who makes a transition."""

    CALL = "call"
    WORKFLOW = "workflow"
    PROJECTOR = "projector"
    SWEEPER = "sweeper"
    OPERATOR = "operator"


class Cause(enum.StrEnum):
    """Why a transition is made; stored with it."""

    QUOTE_ACCEPTED = "QUOTE_ACCEPTED"
    RESERVATION_REFUSED = "RESERVATION_REFUSED"
    QUOTE_NOT_PAID = "QUOTE_NOT_PAID"
    CREATED_ON_CHAIN = "CREATED_ON_CHAIN"
    HOLDER_ACTIVATED = "HOLDER_ACTIVATED"
    REQUEST_JUDGED = "REQUEST_JUDGED"
    OUT_OF_THE_MONEY = "OUT_OF_THE_MONEY"
    REFUSED_BEFORE_EXPIRATION = "REFUSED_BEFORE_EXPIRATION"
    REFUSED_BY_CONTRACT = "REFUSED_BY_CONTRACT"
    SETTLEMENT_RETRIED = "SETTLEMENT_RETRIED"
    EXPIRATION_FINAL = "EXPIRATION_FINAL"
    REFUSED_AT_EXPIRY = "REFUSED_AT_EXPIRY"
    BATCH_RELEASED = "BATCH_RELEASED"
    SETTLED_ON_CHAIN = "SETTLED_ON_CHAIN"
    EXPIRED_ON_CHAIN = "EXPIRED_ON_CHAIN"
    # Recorded without a transition: a creation that our books had ended.
    CREATED_AFTER_FAILURE = "CREATED_AFTER_FAILURE"
    # Only in REVERSALS.
    REORGANISED = "REORGANISED"
    # Only in CORRECTIONS, or recorded without a transition.
    PROVEN_BY_CHAIN = "PROVEN_BY_CHAIN"


MEANING: Final[dict[Cause, str]] = {
    Cause.QUOTE_ACCEPTED: "the holder accepted a quote",
    Cause.RESERVATION_REFUSED: "no capacity was reserved, nothing was signed",
    Cause.QUOTE_NOT_PAID: "the quote's last height is final without its creation",
    Cause.CREATED_ON_CHAIN: "its policy-created event is final",
    Cause.HOLDER_ACTIVATED: "the holder activated it in time",
    Cause.REQUEST_JUDGED: "a request recorded while the tip was unknown was in time",
    Cause.OUT_OF_THE_MONEY: "the receipt of the activation pays nothing",
    Cause.REFUSED_BEFORE_EXPIRATION: "the contract refused for good, before expiration, without a paying receipt",
    Cause.REFUSED_BY_CONTRACT: "the contract refused a settlement for good",
    Cause.SETTLEMENT_RETRIED: "an operator starts the settlement again",
    Cause.EXPIRATION_FINAL: "expiration and grace are final",
    Cause.REFUSED_AT_EXPIRY: "the contract refused to end it in its batch",
    Cause.BATCH_RELEASED: "its batch was refused as a whole",
    Cause.SETTLED_ON_CHAIN: "its policy-settled event is final",
    Cause.EXPIRED_ON_CHAIN: "its policy-expired event is final",
    Cause.CREATED_AFTER_FAILURE: "created on chain after its quote had ended: a person decides",
    Cause.REORGANISED: "a reorganisation deeper than finality withdrew what had caused the state",
    Cause.PROVEN_BY_CHAIN: "the final events of the chain prove that the row was wrong, or lost",
}

S = PolicyState
OPEN: Final = (S.ACTIVE, S.SETTLING, S.EXPIRING, S.FAILED_SETTLEMENT)


@dataclass(frozen=True)
class Rule:
    """One allowed transition; `source` None is the birth of a policy's row."""

    source: PolicyState | None
    target: PolicyState
    actor: Actor
    cause: Cause


RULES: Final[tuple[Rule, ...]] = (
    Rule(None, S.PENDING_CREATION, Actor.CALL, Cause.QUOTE_ACCEPTED),
    Rule(None, S.ACTIVE, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN),
    Rule(S.PENDING_CREATION, S.ACTIVE, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN),
    Rule(S.PENDING_CREATION, S.FAILED_CREATION, Actor.WORKFLOW, Cause.RESERVATION_REFUSED),
    Rule(S.PENDING_CREATION, S.FAILED_CREATION, Actor.PROJECTOR, Cause.QUOTE_NOT_PAID),
    Rule(S.ACTIVE, S.SETTLING, Actor.CALL, Cause.HOLDER_ACTIVATED),
    Rule(S.ACTIVE, S.SETTLING, Actor.PROJECTOR, Cause.REQUEST_JUDGED),
    Rule(S.SETTLING, S.ACTIVE, Actor.WORKFLOW, Cause.OUT_OF_THE_MONEY),
    Rule(S.SETTLING, S.ACTIVE, Actor.WORKFLOW, Cause.REFUSED_BEFORE_EXPIRATION),
    Rule(S.SETTLING, S.FAILED_SETTLEMENT, Actor.WORKFLOW, Cause.REFUSED_BY_CONTRACT),
    Rule(S.FAILED_SETTLEMENT, S.SETTLING, Actor.OPERATOR, Cause.SETTLEMENT_RETRIED),
    Rule(S.ACTIVE, S.EXPIRING, Actor.SWEEPER, Cause.EXPIRATION_FINAL),
    Rule(S.EXPIRING, S.ACTIVE, Actor.PROJECTOR, Cause.REFUSED_AT_EXPIRY),
    Rule(S.EXPIRING, S.ACTIVE, Actor.WORKFLOW, Cause.BATCH_RELEASED),
    *(
        Rule(source, target, Actor.PROJECTOR, cause)
        for source in OPEN
        for target, cause in ((S.SETTLED, Cause.SETTLED_ON_CHAIN), (S.EXPIRED, Cause.EXPIRED_ON_CHAIN))
    ),
)

TERMINAL: Final = frozenset({S.SETTLED, S.EXPIRED, S.FAILED_CREATION})

# The only way out of a terminal state, and never in normal work: creation stops until a person resumes.
REVERSALS: Final[frozenset[tuple[PolicyState, PolicyState]]] = frozenset(
    [(source, S.PENDING_CREATION) for source in OPEN]
    + [(ended, source) for ended in (S.SETTLED, S.EXPIRED) for source in OPEN]
)

# From a state that the final events refute to the one before it, which they may then end: reconciliation alone.
CORRECTIONS: Final[frozenset[tuple[PolicyState, PolicyState]]] = frozenset(
    (wrong, right)
    for wrong in (S.PENDING_CREATION, S.FAILED_CREATION, S.SETTLED, S.EXPIRED)
    for right in (S.PENDING_CREATION, *OPEN)
    if wrong is not right
)

_BY_CAUSE: Final = {(rule.source, rule.cause): rule for rule in RULES if rule.source is not None}


def rule_for(source: PolicyState, actor: Actor, cause: Cause) -> Rule:
    """The rule by which `actor` may leave `source` for `cause`; FailedPrecondition if there is none."""
    rule = _BY_CAUSE.get((source, cause))
    if rule is None or rule.actor is not actor:
        raise FailedPrecondition(
            Reason.TRANSITION_NOT_ALLOWED,
            f"{actor} may not leave {source} because {MEANING[cause]}",
            state=source,
            cause=cause,
        )
    return rule


def allows(source: PolicyState, cause: Cause) -> bool:
    """True if some transition leaves `source` for `cause`."""
    return (source, cause) in _BY_CAUSE

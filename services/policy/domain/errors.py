"""Stable reasons of the policy service's refusals; clients may switch on them."""

from __future__ import annotations

import enum

from kernel.errors import FailedPrecondition, InvalidArgument, NotFound


class Reason(enum.StrEnum):
    """Why a call was refused."""

    POLICY_NOT_FOUND = "POLICY_NOT_FOUND"
    BATCH_NOT_FOUND = "BATCH_NOT_FOUND"
    # Quotes and creation.
    INVALID_TERMS = "INVALID_TERMS"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    ABOVE_POLICY_LIMIT = "ABOVE_POLICY_LIMIT"
    STRIKE_OUT_OF_BOUNDS = "STRIKE_OUT_OF_BOUNDS"
    FLOOR_OUT_OF_BOUNDS = "FLOOR_OUT_OF_BOUNDS"
    DURATION_OUT_OF_BOUNDS = "DURATION_OUT_OF_BOUNDS"
    NO_TIER_OFFERED = "NO_TIER_OFFERED"
    PRICE_NOT_OK = "PRICE_NOT_OK"
    TIP_STALE = "TIP_STALE"
    PARAMETER_MISSING = "PARAMETER_MISSING"
    CREATION_PAUSED = "CREATION_PAUSED"
    CREATION_STOPPED = "CREATION_STOPPED"
    PREMIUM_ABOVE_MAX = "PREMIUM_ABOVE_MAX"
    NOT_PENDING = "NOT_PENDING"
    QUOTE_SIGNED = "QUOTE_SIGNED"
    QUOTE_DIFFERS = "QUOTE_DIFFERS"
    NO_BREAKDOWN = "NO_BREAKDOWN"
    # Activation and settlement.
    NOT_ACTIVE = "NOT_ACTIVE"
    EXPIRED = "EXPIRED"
    ACTIVATION_PENDING = "ACTIVATION_PENDING"
    ACTIVATION_UNKNOWN = "ACTIVATION_UNKNOWN"
    RECEIPT_MISMATCH = "RECEIPT_MISMATCH"
    RECEIPT_DIFFERS = "RECEIPT_DIFFERS"
    NOT_FAILED_SETTLEMENT = "NOT_FAILED_SETTLEMENT"
    NOT_SETTLING = "NOT_SETTLING"
    NO_RECEIPT = "NO_RECEIPT"
    TRANSITION_NOT_ALLOWED = "TRANSITION_NOT_ALLOWED"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    # Reading.
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"
    INVALID_READ_MASK = "INVALID_READ_MASK"
    UNSUPPORTED_LIST = "UNSUPPORTED_LIST"
    INVALID_RESUME_TOKEN = "INVALID_RESUME_TOKEN"


def policy_not_found(name: str) -> NotFound:
    """No such policy, or not the caller's."""
    return NotFound(Reason.POLICY_NOT_FOUND, f"there is no policy {name}", name=name)


def invalid_terms(field: str, description: str) -> InvalidArgument:
    """One wrong field of `terms`."""
    return InvalidArgument.of(f"terms.{field}", description, Reason.INVALID_TERMS)


def not_active(state: str) -> FailedPrecondition:
    """Only an ACTIVE policy can be activated."""
    return FailedPrecondition(Reason.NOT_ACTIVE, f"the policy is {state}, not ACTIVE", state=state)


def expired(expiration_burn_height: int, burn_height: int) -> FailedPrecondition:
    """The request came after the last height of activation."""
    return FailedPrecondition(
        Reason.EXPIRED,
        f"the policy could be activated up to burn height {expiration_burn_height}; the request is of {burn_height}",
        expiration_burn_height=expiration_burn_height,
        burn_height=burn_height,
    )

"""Domain errors at the edge of an activity: what may be tried again, and what may not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from kernel.errors import (
    Aborted,
    BitHedgeError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from kernel.rpc.channels import remote_errors

# The last two are about our own credentials: a person puts them right, and nothing that was begun may end of it.
_RETRYABLE = (Unavailable, Aborted, ResourceExhausted, Unauthenticated, PermissionDenied)

# What waits for others, or for policies to end, and how long it is until somebody asks again.
_PAUSES = {
    "WITHDRAWAL_QUEUED": dt.timedelta(seconds=10),
    "TIER_WORTHLESS": dt.timedelta(minutes=1),
    "DEPOSIT_BELOW_A_SHARE": dt.timedelta(minutes=10),
}


@contextmanager
def service_calls(*retried_reasons: str) -> Iterator[None]:
    """Inside, what a service answers becomes an ApplicationError whose type is the stable reason.

    Errors that pass with time are retried; so are those whose reason is among `retried_reasons`.
    """
    try:
        with remote_errors():
            yield
    except BitHedgeError as error:
        retryable = isinstance(error, _RETRYABLE) or error.reason in retried_reasons
        raise ApplicationError(error.message, type=error.reason, non_retryable=not retryable) from error


@contextmanager
def queue_calls() -> Iterator[None]:
    """Around `service_calls`: who waits for more than a price asks less often."""
    try:
        yield
    except ApplicationError as error:
        if error.type not in _PAUSES:
            raise
        raise ApplicationError(error.message, type=error.type, next_retry_delay=_PAUSES[error.type]) from error

"""Steps that a service refused for good."""

from __future__ import annotations

from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows import steps

REFUSED: Final = "REFUSED"
# What a failed step raises: a local activity the error itself, any other one an ActivityError around it.
STEP_ERRORS: Final = (ActivityError, ApplicationError)


def refusal_reason(error: ActivityError | ApplicationError) -> str:
    """The stable reason that the service gave. Raises the error again if it is no refusal, such as a cancellation."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if not isinstance(cause, ApplicationError):
        raise error
    return cause.type or "UNKNOWN"


def refused_outcome(error: ActivityError | ApplicationError) -> steps.IntentOutcome:
    """The outcome of an intent that was never accepted: state `REFUSED`, and why."""
    return steps.IntentOutcome(state=REFUSED, txid="", contract_error=0, reason=refusal_reason(error))

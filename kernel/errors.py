"""The errors of every domain, one class per gRPC status code that a caller can act on.

BitHedgeError
├── InvalidArgument      the request can never succeed; names each field
├── Unauthenticated      no valid token
├── PermissionDenied     a valid token of the wrong caller
├── NotFound             also what a caller may not know of
├── AlreadyExists        a request id with another body, a second row of one thing
├── FailedPrecondition   the state does not allow it now
├── ResourceExhausted    a limit or capacity is used up
├── Aborted              lost a race; may be tried again at once
└── Unavailable          something needed is not there yet; try again later
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class BitHedgeError(Exception):
    """An error with a stable `reason` (UPPER_SNAKE_CASE) that clients may switch on.

    `metadata` is sent to the caller with the reason: never put a secret into it.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong, by its path in the request, and why."""

    field: str
    description: str


class InvalidArgument(BitHedgeError):
    """The request can never succeed as it is."""

    code = "INVALID_ARGUMENT"

    def __init__(self, reason: str, message: str, *violations: FieldViolation, **metadata: object) -> None:
        super().__init__(reason, message, **metadata)
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str, reason: str = "INVALID_FIELD") -> InvalidArgument:
        """One wrong field."""
        return cls(reason, f"{field}: {description}", FieldViolation(field, description), field=field)


class Unauthenticated(BitHedgeError):
    """No valid token."""

    code = "UNAUTHENTICATED"


class PermissionDenied(BitHedgeError):
    """A valid token, but not of a caller who may do this."""

    code = "PERMISSION_DENIED"


class NotFound(BitHedgeError):
    """There is no such thing, or the caller may not know of it."""

    code = "NOT_FOUND"


class AlreadyExists(BitHedgeError):
    """The id is taken by something else."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(BitHedgeError):
    """The state does not allow it now."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(BitHedgeError):
    """A limit or capacity is used up; with `retry_after_seconds` where it is worth another try then."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, reason: str, message: str, *, retry_after_seconds: float = 0, **metadata: object) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_after_seconds = retry_after_seconds


class Aborted(BitHedgeError):
    """A race was lost; the same call may succeed at once."""

    code = "ABORTED"


class Unavailable(BitHedgeError):
    """Something that is needed is not there yet; the same call may succeed later."""

    code = "UNAVAILABLE"

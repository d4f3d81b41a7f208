"""What identity refuses, each with its stable reason.

BitHedgeError
├── InvalidArgument
│   └── MalformedAddress        not an address of one key on this network
├── NotFound
│   └── UnknownChallenge        never issued, or purged
├── FailedPrecondition
│   ├── ChallengeExpired        its five minutes are over
│   └── ChallengeConsumed       it has opened its session
├── ResourceExhausted
│   ├── TooManyChallenges       the principal asked too often
│   └── TooManyAttempts         the challenge was answered wrongly too often
└── Unauthenticated
    ├── WrongSignature          malformed, or of another key or text
    ├── WrongClientSecret       unknown client or wrong secret, indistinguishable
    ├── InvalidRefreshToken     never issued, expired, or its session has ended
    ├── RefreshTokenReused      spent before: the session ends
    └── SessionEnded            deleted, revoked or expired
"""

from __future__ import annotations

from kernel.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)


class MalformedAddress(InvalidArgument):
    """Not the canonical address of one key on this network."""

    def __init__(self, description: str) -> None:
        violation = FieldViolation("principal", description)
        super().__init__("INVALID_PRINCIPAL", f"principal: {description}", violation, field="principal")


class UnknownChallenge(NotFound):
    """There is no such challenge, or no longer."""

    def __init__(self) -> None:
        super().__init__("CHALLENGE_UNKNOWN", "there is no such challenge, ask for a new one")


class ChallengeExpired(FailedPrecondition):
    """The challenge was signed too late."""

    def __init__(self) -> None:
        super().__init__("CHALLENGE_EXPIRED", "the challenge has expired, ask for a new one")


class ChallengeConsumed(FailedPrecondition):
    """The challenge has opened a session before."""

    def __init__(self) -> None:
        super().__init__("CHALLENGE_CONSUMED", "the challenge was used before, ask for a new one")


class TooManyChallenges(ResourceExhausted):
    """The principal asked for more challenges than people need."""

    def __init__(self, window_seconds: int) -> None:
        message = f"too many challenges for this principal, try again in {window_seconds} seconds"
        super().__init__("TOO_MANY_CHALLENGES", message, retry_after_seconds=window_seconds)


class TooManyAttempts(ResourceExhausted):
    """The challenge was answered with too many wrong signatures."""

    def __init__(self) -> None:
        super().__init__("TOO_MANY_ATTEMPTS", "too many signatures for this challenge, ask for a new one")


class WrongSignature(Unauthenticated):
    """The signature is malformed, or not that of the principal's key over the challenge's text."""

    def __init__(self, description: str) -> None:
        super().__init__("WRONG_SIGNATURE", description)


class WrongClientSecret(Unauthenticated):
    """The client is unknown or its secret is wrong; which of the two is not said."""

    def __init__(self) -> None:
        super().__init__("WRONG_CLIENT_SECRET", "unknown client or wrong secret")


class InvalidRefreshToken(Unauthenticated):
    """The refresh token was never issued, has expired, or its session has ended."""

    def __init__(self) -> None:
        super().__init__("INVALID_REFRESH_TOKEN", "the refresh token is not valid, sign in again")


class RefreshTokenReused(Unauthenticated):
    """The refresh token was spent before: it may be stolen, so its session has ended."""

    def __init__(self) -> None:
        super().__init__("REFRESH_TOKEN_REUSED", "the refresh token was used before, sign in again")


class SessionEnded(Unauthenticated):
    """The token's session was deleted, revoked, or has expired."""

    def __init__(self) -> None:
        super().__init__("SESSION_ENDED", "the session has ended, sign in again")

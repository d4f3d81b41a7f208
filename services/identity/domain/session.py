"""A session and its refresh tokens: how long they live, and what becomes of a refresh token that is shown."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from kernel.ids import new_id

ACCESS_LIFETIME: Final = dt.timedelta(minutes=10)
# A session ends for good after 30 days, and earlier if it is not refreshed for seven.
SESSION_LIFETIME: Final = dt.timedelta(days=30)
REFRESH_LIFETIME: Final = dt.timedelta(days=7)


@dataclass(frozen=True)
class Session:
    """A principal's session; `end_time` is set when it was deleted or revoked."""

    id: str
    principal: str
    create_time: dt.datetime
    expire_time: dt.datetime
    end_time: dt.datetime | None = None

    def is_open(self, now: dt.datetime) -> bool:
        """True until it ends or expires."""
        return self.end_time is None and now < self.expire_time


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token as we keep it: only its hash. It is spent once, for its successor."""

    token_sha256: bytes
    session_id: str
    expire_time: dt.datetime
    spend_time: dt.datetime | None = None


def access_expire_time(now: dt.datetime) -> dt.datetime:
    """When an access token issued now ends, to the second, as tokens have it."""
    return now.replace(microsecond=0) + ACCESS_LIFETIME


def open_session(principal: str, now: dt.datetime) -> Session:
    """A new session."""
    return Session(new_id(), principal, now, now + SESSION_LIFETIME)


def new_refresh_token(session: Session, now: dt.datetime) -> tuple[str, RefreshToken]:
    """A new token (256 random bits, URL-safe text) and what we keep of it."""
    text = secrets.token_urlsafe(32)
    expire_time = min(now + REFRESH_LIFETIME, session.expire_time)
    return text, RefreshToken(refresh_token_hash(text), session.id, expire_time)


def refresh_token_hash(text: str) -> bytes:
    """SHA-256 of a token. 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).digest()


class Refresh(enum.Enum):
    """What becomes of a refresh token that is shown."""

    GRANTED = enum.auto()
    INVALID = enum.auto()
    REUSED = enum.auto()


def judge_refresh(token: RefreshToken, session: Session, now: dt.datetime) -> Refresh:
    """A token spent before is REUSED even when it has expired since: somebody holds a copy."""
    if not session.is_open(now):
        return Refresh.INVALID
    if token.spend_time is not None:
        return Refresh.REUSED
    return Refresh.GRANTED if now < token.expire_time else Refresh.INVALID

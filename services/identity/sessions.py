"""Sessions after sign-in: refreshed by rotating tokens, looked up, ended."""

from __future__ import annotations

import datetime as dt

from kernel.database import Database
from services.identity import metrics, store
from services.identity.domain.errors import InvalidRefreshToken, RefreshTokenReused, SessionEnded
from services.identity.domain.session import (
    Refresh,
    Session,
    judge_refresh,
    new_refresh_token,
    refresh_token_hash,
)


async def refresh_session(database: Database, refresh_token: str, now: dt.datetime) -> tuple[Session, str]:
    """The session of a refresh token, and the token's successor; InvalidRefreshToken, RefreshTokenReused.

    A token that was spent before ends its session: its holder and the one who spent it cannot both be the owner.
    """
    async with database.transaction() as session:
        found = await store.lock_refresh_token(session, refresh_token_hash(refresh_token))
        if found is None:
            raise InvalidRefreshToken
        token, owner = found
        verdict = judge_refresh(token, owner, now)
        if verdict is Refresh.INVALID:
            raise InvalidRefreshToken
        if verdict is Refresh.GRANTED:
            text, successor = new_refresh_token(owner, now)
            await store.spend_refresh_token(session, token, now)
            await store.add_refresh_token(session, successor)
            return owner, text
        await store.end_session(session, owner.id, now, "REFRESH_TOKEN_REUSED")
    # Raised only here, so that the end of the session is committed.
    metrics.SESSIONS_REVOKED.inc()
    raise RefreshTokenReused


async def find_open_session(database: Database, identifier: str, now: dt.datetime) -> Session:
    """The session; SessionEnded if it was deleted, revoked or has expired, whatever its token still says."""
    async with database.transaction() as session:
        found = await store.find_session(session, identifier)
    if found is None or not found.is_open(now):
        raise SessionEnded
    return found


async def delete_session(database: Database, identifier: str, now: dt.datetime) -> None:
    """Ends the session; one that has ended stays as it is."""
    async with database.transaction() as session:
        await store.end_session(session, identifier, now, "DELETED")

"""All SQL of identity. Every function works in the caller's transaction."""

from __future__ import annotations

import datetime as dt
import zlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.identity.domain.challenge import MAX_ATTEMPTS, Challenge
from services.identity.domain.session import RefreshToken, Session
from services.identity.tables import ChallengeRow, RefreshTokenRow, SessionRow


@dataclass(frozen=True)
class RecentChallenges:
    """How many challenges a principal asked for: from one peer, and from all."""

    of_peer: int
    of_all: int


async def count_recent_challenges(
    session: AsyncSession, principal: str, peer: str, since: dt.datetime
) -> RecentChallenges:
    """Those issued after `since`. Others who count for the same principal wait until this transaction ends."""
    lock = zlib.crc32(f"challenges of {principal}".encode())
    connection = await session.connection()
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    counts = await connection.execute(
        sa.select(
            sa.func.count().filter(col(ChallengeRow.peer) == peer),
            sa.func.count(),
        ).where(col(ChallengeRow.principal) == principal, col(ChallengeRow.issue_time) > since)
    )
    of_peer, of_all = counts.one()
    return RecentChallenges(of_peer, of_all)


def add_challenge(session: AsyncSession, challenge: Challenge, peer: str) -> None:
    """Stores a new challenge."""
    session.add(
        ChallengeRow(
            id=challenge.id,
            principal=challenge.principal,
            peer=peer,
            nonce=challenge.nonce,
            message=challenge.message,
            issue_time=challenge.issue_time,
            expire_time=challenge.expire_time,
        )
    )


async def find_challenge(session: AsyncSession, identifier: str) -> ChallengeRow | None:
    """The challenge as it stands, to say why it is refused."""
    return await session.get(ChallengeRow, identifier)


async def attempt_challenge(session: AsyncSession, identifier: str, now: dt.datetime) -> ChallengeRow | None:
    """Counts one signature tried on an open challenge; None if it is not open or has had its attempts."""
    statement = (
        sa.update(ChallengeRow)
        .where(*_open(identifier, now), col(ChallengeRow.attempts) < MAX_ATTEMPTS)
        .values(attempts=col(ChallengeRow.attempts) + 1)
        .returning(ChallengeRow)
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def consume_challenge(session: AsyncSession, identifier: str, now: dt.datetime) -> bool:
    """Consumes an open challenge: true for exactly one caller, ever."""
    statement = (
        sa.update(ChallengeRow).where(*_open(identifier, now)).values(consume_time=now).returning(col(ChallengeRow.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


def _open(identifier: str, now: dt.datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        col(ChallengeRow.id) == identifier,
        col(ChallengeRow.consume_time).is_(None),
        col(ChallengeRow.expire_time) > now,
    )


async def add_session(session: AsyncSession, opened: Session) -> None:
    """Stores a new session."""
    session.add(
        SessionRow(
            id=opened.id,
            principal=opened.principal,
            create_time=opened.create_time,
            expire_time=opened.expire_time,
        )
    )
    await session.flush()


async def add_refresh_token(session: AsyncSession, token: RefreshToken) -> None:
    """Stores a new refresh token; the one before must have been spent in this transaction or earlier."""
    session.add(
        RefreshTokenRow(token_sha256=token.token_sha256, session_id=token.session_id, expire_time=token.expire_time)
    )
    await session.flush()


async def find_session(session: AsyncSession, identifier: str) -> Session | None:
    """A session as it stands."""
    row = await session.get(SessionRow, identifier)
    return None if row is None else _session(row)


async def lock_refresh_token(session: AsyncSession, token_sha256: bytes) -> tuple[RefreshToken, Session] | None:
    """The token and its session, both locked until the transaction ends."""
    statement = (
        select(RefreshTokenRow, SessionRow)
        .join(SessionRow, col(SessionRow.id) == col(RefreshTokenRow.session_id))
        .where(col(RefreshTokenRow.token_sha256) == token_sha256)
        .with_for_update()
    )
    found = (await session.exec(statement)).one_or_none()
    if found is None:
        return None
    token, owner = found
    return RefreshToken(token.token_sha256, token.session_id, token.expire_time, token.spend_time), _session(owner)


async def spend_refresh_token(session: AsyncSession, token: RefreshToken, now: dt.datetime) -> None:
    """Marks a token, locked before, as spent."""
    await session.exec(
        sa.update(RefreshTokenRow).where(col(RefreshTokenRow.token_sha256) == token.token_sha256).values(spend_time=now)
    )


async def end_session(session: AsyncSession, identifier: str, now: dt.datetime, cause: str) -> bool:
    """Ends a session; false if it had ended before, which keeps its time and cause."""
    statement = (
        sa.update(SessionRow)
        .where(col(SessionRow.id) == identifier, col(SessionRow.end_time).is_(None))
        .values(end_time=now, end_cause=cause)
        .returning(col(SessionRow.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def count_open_sessions(session: AsyncSession, now: dt.datetime) -> int:
    """Sessions that have neither ended nor expired."""
    statement = select(sa.func.count()).where(col(SessionRow.end_time).is_(None), col(SessionRow.expire_time) > now)
    return (await session.exec(statement)).one()


async def purge(session: AsyncSession, challenges_before: dt.datetime, sessions_before: dt.datetime) -> None:
    """Deletes challenges and refresh tokens that expired, and sessions that ended or expired, before those times."""
    await session.exec(sa.delete(ChallengeRow).where(col(ChallengeRow.expire_time) < challenges_before))
    await session.exec(sa.delete(RefreshTokenRow).where(col(RefreshTokenRow.expire_time) < sessions_before))
    ended = sa.func.least(col(SessionRow.expire_time), col(SessionRow.end_time))
    await session.exec(sa.delete(SessionRow).where(ended < sessions_before))


def _session(row: SessionRow) -> Session:
    return Session(row.id, row.principal, row.create_time, row.expire_time, row.end_time)

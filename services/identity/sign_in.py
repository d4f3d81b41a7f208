"""Signing in: a challenge is issued, then consumed once by its signature, which opens a session."""

from __future__ import annotations

import datetime as dt

from kernel.database import Database
from kernel.errors import BitHedgeError
from services.identity import store
from services.identity.domain.challenge import (
    MAX_PER_PEER,
    MAX_PER_PRINCIPAL,
    RATE_WINDOW,
    Challenge,
    SignInDomain,
    issue_challenge,
)
from services.identity.domain.errors import (
    ChallengeConsumed,
    ChallengeExpired,
    TooManyAttempts,
    TooManyChallenges,
    UnknownChallenge,
)
from services.identity.domain.session import Session, new_refresh_token, open_session
from services.identity.recovery import check_signed_by
from services.identity.tables import ChallengeRow


async def request_challenge(
    database: Database, domain: SignInDomain, principal: str, peer: str, now: dt.datetime
) -> Challenge:
    """A new challenge for `principal`, asked for by the host `peer`; MalformedAddress, TooManyChallenges."""
    challenge = issue_challenge(domain, principal, now)
    async with database.transaction() as session:
        recent = await store.count_recent_challenges(session, principal, peer, now - RATE_WINDOW)
        if recent.of_peer >= MAX_PER_PEER or recent.of_all >= MAX_PER_PRINCIPAL:
            raise TooManyChallenges(int(RATE_WINDOW.total_seconds()))
        store.add_challenge(session, challenge, peer)
    return challenge


async def sign_in(
    database: Database, domain: SignInDomain, challenge_id: str, signature: bytes, now: dt.datetime
) -> tuple[Session, str]:
    """The session that a signed challenge opens, with its refresh token; a BitHedgeError says why it does not.

    The attempt is counted and committed before the signature is looked at, so that the bound on attempts holds under
    concurrency. A wrong signature does not consume the challenge; of many right ones exactly one does.
    """
    async with database.transaction() as session:
        challenge = await store.attempt_challenge(session, challenge_id, now)
        if challenge is None:
            raise _refusal(await store.find_challenge(session, challenge_id), now)
    check_signed_by(challenge.principal, challenge.message, signature, domain.network)
    opened = open_session(challenge.principal, now)
    text, token = new_refresh_token(opened, now)
    async with database.transaction() as session:
        if not await store.consume_challenge(session, challenge_id, now):
            raise _refusal(await store.find_challenge(session, challenge_id), now)
        await store.add_session(session, opened)
        await store.add_refresh_token(session, token)
    return opened, text


def _refusal(challenge: ChallengeRow | None, now: dt.datetime) -> BitHedgeError:
    if challenge is None:
        return UnknownChallenge()
    if challenge.consume_time is not None:
        return ChallengeConsumed()
    if challenge.expire_time <= now:
        return ChallengeExpired()
    return TooManyAttempts()

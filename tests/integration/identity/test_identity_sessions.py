"""Sessions and tokens over a real socket: rotation, theft, ends, roles, and who verifies what."""

from __future__ import annotations

import asyncio

import grpc
import jwt
import pytest
from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.type.v1 import access_pb2
from cryptography.hazmat.primitives.asymmetric import ec
from sqlmodel import col, select

from kernel.errors import Unauthenticated
from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.tokens import AUDIENCE, ISSUER, JwksVerifier, ServiceTokens
from services.identity.housekeeping import purge_once
from services.identity.keys import KeySet
from services.identity.metrics import SESSIONS_OPEN
from services.identity.tables import ChallengeRow, RefreshTokenRow, SessionRow
from tests.integration.identity.service import Identity, User, bearer, refusal


async def test_a_refresh_token_is_traded_once_for_new_tokens(identity: Identity, user: User) -> None:
    """Three refreshes in a row keep the session and give new tokens each time."""
    opened = await identity.sign_in(user)
    seen, token = {opened.refresh_token}, opened.refresh_token
    for _ in range(3):
        refreshed = await identity.refresh(token)
        assert refreshed.session == opened.session
        assert (await identity.session(refreshed.access_token)).name == opened.session.name
        token = refreshed.refresh_token
        assert token not in seen
        seen.add(token)


async def test_a_reused_refresh_token_ends_the_session(identity: Identity, user: User) -> None:
    """Who shows a spent token ends the session for the thief and for the owner, at once."""
    opened = await identity.sign_in(user)
    refreshed = await identity.refresh(opened.refresh_token)
    reused = await refusal(identity.refresh(opened.refresh_token))
    assert (type(reused), reused.reason) == (Unauthenticated, "REFRESH_TOKEN_REUSED")
    assert (await refusal(identity.refresh(refreshed.refresh_token))).reason == "INVALID_REFRESH_TOKEN"
    assert (await refusal(identity.session(refreshed.access_token))).reason == "SESSION_ENDED"


async def test_of_concurrent_refreshes_one_wins_and_the_session_ends(identity: Identity, user: User) -> None:
    """Six at once with one token: exactly one is answered, and the reuse that the others are ends the session."""
    opened = await identity.sign_in(user)
    answers = await asyncio.gather(*(identity.refresh(opened.refresh_token) for _ in range(6)), return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, pb.RefreshSessionResponse)]
    assert len(won) == 1
    assert (await refusal(identity.refresh(won[0].refresh_token))).reason == "INVALID_REFRESH_TOKEN"


async def test_a_deleted_session_cannot_be_used_or_refreshed(identity: Identity, user: User) -> None:
    """Deleting is repeatable; the other session of the same wallet stays."""
    opened, other = await identity.sign_in(user), await identity.sign_in(user)
    for _ in range(2):
        await identity.stub.DeleteSession(pb.DeleteSessionRequest(), metadata=bearer(opened.access_token))
    assert (await refusal(identity.refresh(opened.refresh_token))).reason == "INVALID_REFRESH_TOKEN"
    assert (await refusal(identity.session(opened.access_token))).reason == "SESSION_ENDED"
    assert (await identity.session(other.access_token)).name == other.session.name


async def test_refresh_tokens_end(identity: Identity, user: User) -> None:
    """A token lives seven days; refreshed weekly, the session still ends after thirty."""
    opened = await identity.sign_in(user)
    idle = await identity.sign_in(user)
    token = opened.refresh_token
    for _ in range(4):
        identity.clock.advance(days=7, seconds=-1)
        token = (await identity.refresh(token)).refresh_token
    assert (await refusal(identity.refresh(idle.refresh_token))).reason == "INVALID_REFRESH_TOKEN"
    identity.clock.advance(days=2, seconds=10)
    assert (await refusal(identity.refresh(token))).reason == "INVALID_REFRESH_TOKEN"


async def test_no_refresh_token_is_kept_in_clear(identity: Identity, user: User) -> None:
    """The database holds hashes of 32 bytes: whoever reads it cannot refresh."""
    opened = await identity.sign_in(user)
    session_id = opened.session.name.removeprefix("sessions/")
    async with identity.database.transaction() as session:
        statement = select(RefreshTokenRow).where(col(RefreshTokenRow.session_id) == session_id)
        row = (await session.exec(statement)).one()
    assert len(row.token_sha256) == 32
    assert opened.refresh_token.encode() not in row.token_sha256
    assert (await refusal(identity.refresh(row.token_sha256.hex()))).reason == "INVALID_REFRESH_TOKEN"


async def test_tokens_carry_what_the_verifying_side_asks_for(identity: Identity, user: User) -> None:
    """Issuer, audience, subject, roles, session, times, a unique id and the key id; signed with ES256."""
    opened = await identity.sign_in(user)
    header = jwt.get_unverified_header(opened.access_token)
    claims = jwt.decode(opened.access_token, options={"verify_signature": False})
    keys = jwt.PyJWKSet.from_json((await identity.stub.GetJwks(pb.GetJwksRequest())).jwks_json)
    assert header["alg"] == "ES256"
    assert header["kid"] in {key.key_id for key in keys.keys}
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, AUDIENCE, user.principal)
    assert claims["roles"] == ["HOLDER", "PROVIDER"]
    assert "sessions/" + claims["sid"] == opened.session.name
    assert claims["exp"] == opened.access_token_expire_time.seconds
    assert claims["exp"] - claims["iat"] == 600
    again = jwt.decode((await identity.refresh(opened.refresh_token)).access_token, options={"verify_signature": False})
    assert again["jti"] != claims["jti"]


async def test_the_published_keys_are_public(identity: Identity) -> None:
    """The key set has no private part."""
    jwks = jwt.PyJWKSet.from_json((await identity.stub.GetJwks(pb.GetJwksRequest())).jwks_json)
    assert all(isinstance(key.key, ec.EllipticCurvePublicKey) for key in jwks.keys)


async def test_another_service_verifies_by_the_key_set(identity: Identity, user: User) -> None:
    """The kernel's verifier accepts our token over JWKS and refuses one of a foreign key."""
    opened = await identity.sign_in(user)
    verifier = JwksVerifier(identity.channel)
    caller = await verifier.verify(opened.access_token)
    assert (caller.principal, caller.roles) == (user.principal, frozenset({Role.HOLDER, Role.PROVIDER}))
    assert "sessions/" + caller.session == opened.session.name
    foreign = KeySet(ec.generate_private_key(ec.SECP256R1()))
    now = identity.clock()
    forged = foreign.issue(user.principal, ["OPERATOR"], "", now, now.replace(year=now.year + 1))
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(forged)
    assert refused.value.reason == "UNKNOWN_KEY"
    assert (await refusal(identity.session(forged))).reason == "UNKNOWN_KEY"


async def test_a_process_gets_its_token_with_its_secret(identity: Identity) -> None:
    """The token says who it is; the kernel's ServiceTokens carries it on its calls."""
    secret = (identity.secrets_folder / "policy").read_text()
    tokens = ServiceTokens(identity.channel, "policy", secret)
    async with open_channel(identity.address, tokens) as channel:
        stub = type(identity.stub)(channel)
        session = (await stub.GetSession(pb.GetSessionRequest())).session
    assert session == pb.Session(principal="service:policy", roles=[access_pb2.ROLE_SERVICE])


async def test_a_wrong_secret_gets_nothing(identity: Identity) -> None:
    """Wrong secret, unknown client and paths out of the folder answer alike; an exchanged secret counts at once."""
    path = identity.secrets_folder / "policy"
    secret = path.read_text()
    outside = identity.secrets_folder.parent / "outside"
    outside.write_text(secret)
    outside.chmod(0o600)
    tried = [("policy", secret[:-1]), ("policy", ""), ("pool", secret), ("../outside", secret), ("", secret), (".", "")]
    for client, given in tried:
        request = pb.CreateServiceTokenRequest(client=client, secret=given)
        refused = await refusal(identity.stub.CreateServiceToken(request))
        assert (type(refused), refused.reason) == (Unauthenticated, "WRONG_CLIENT_SECRET")
    path.write_text("another-secret-of-at-least-32-characters")
    old = pb.CreateServiceTokenRequest(client="policy", secret=secret)
    assert (await refusal(identity.stub.CreateServiceToken(old))).reason == "WRONG_CLIENT_SECRET"
    path.write_text(secret)
    assert (await identity.stub.CreateServiceToken(old)).access_token


async def test_sessions_are_for_people(identity: Identity) -> None:
    """No token is UNAUTHENTICATED; a service has no session to delete."""
    assert (await refusal(identity.stub.GetSession(pb.GetSessionRequest()))).reason == "NO_TOKEN"
    secret = (identity.secrets_folder / "policy").read_text()
    request = pb.CreateServiceTokenRequest(client="policy", secret=secret)
    token = (await identity.stub.CreateServiceToken(request)).access_token
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.stub.DeleteSession(pb.DeleteSessionRequest(), metadata=bearer(token))
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_what_has_expired_is_purged_and_nothing_else(identity: Identity, user: User) -> None:
    """Challenges an hour after their end, sessions a week after theirs; open sessions stay and are counted."""
    deleted, kept = await identity.sign_in(user), await identity.sign_in(user)
    await identity.stub.DeleteSession(pb.DeleteSessionRequest(), metadata=bearer(deleted.access_token))

    async def left() -> tuple[int, set[str]]:
        async with identity.database.transaction() as session:
            challenges = (
                await session.exec(select(ChallengeRow).where(col(ChallengeRow.principal) == user.principal))
            ).all()
            sessions = (await session.exec(select(SessionRow).where(col(SessionRow.principal) == user.principal))).all()
        return len(challenges), {"sessions/" + row.id for row in sessions}

    await purge_once(identity.database, identity.clock())
    assert await left() == (2, {deleted.session.name, kept.session.name})
    identity.clock.advance(minutes=66)
    await purge_once(identity.database, identity.clock())
    assert await left() == (0, {deleted.session.name, kept.session.name})
    identity.clock.advance(days=7)
    await purge_once(identity.database, identity.clock())
    assert await left() == (0, {kept.session.name})
    assert SESSIONS_OPEN._value.get() >= 1
    identity.clock.advance(days=31)
    await purge_once(identity.database, identity.clock())
    assert await left() == (0, set())

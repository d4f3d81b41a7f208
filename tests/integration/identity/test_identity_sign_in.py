"""Sign-in over a real socket: what a signature opens, and everything that it does not."""

from __future__ import annotations

import asyncio
import re

import grpc
import pytest
from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.type.v1 import access_pb2

from deploy.wallet.driver import Wallet
from kernel.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unauthenticated
from services.identity.domain.challenge import MAX_ATTEMPTS, MAX_PER_PEER
from services.identity.domain.wallet import Network
from services.identity.metrics import CHALLENGES_REFUSED
from tests.integration.identity.service import CHAIN_ID, Identity, User, refusal

_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


async def _answer(identity: Identity, challenge: str, signature: bytes) -> pb.CreateSessionResponse:
    return await identity.stub.CreateSession(pb.CreateSessionRequest(challenge=challenge, signature=signature))


async def test_a_signed_challenge_opens_a_session(identity: Identity, user: User) -> None:
    """The session belongs to the signer, who is holder and provider, for thirty days with ten-minute tokens."""
    opened = await identity.sign_in(user)
    now = identity.clock().timestamp()
    assert opened.session.principal == user.principal
    assert list(opened.session.roles) == [access_pb2.ROLE_HOLDER, access_pb2.ROLE_PROVIDER]
    assert re.fullmatch(r"sessions/[0-9a-f]{32}", opened.session.name)
    assert opened.access_token_expire_time.seconds - now == pytest.approx(600, abs=5)
    assert opened.session.expire_time.seconds - now == pytest.approx(30 * 86_400, abs=5)
    assert (await identity.session(opened.access_token)).name == opened.session.name


async def test_the_outside_wallet_signs_in(identity: Identity) -> None:
    """A wallet that shares no code with us signs the challenge and is let in under its own address."""
    async with Wallet("http://127.0.0.1:1") as wallet:
        account = await wallet.address()
        challenge = await identity.stub.CreateChallenge(pb.CreateChallengeRequest(principal=account.address))
        signed = await wallet.sign_message(account.seed, challenge.message)
    opened = await _answer(identity, challenge.challenge, bytes.fromhex(signed.signature))
    assert opened.session.principal == account.address


async def test_the_message_says_who_asks_for_what(identity: Identity, user: User) -> None:
    """Domain, address, chain, nonce, times and the challenge's own name stand in the text that is signed."""
    first, second = await identity.challenge(user), await identity.challenge(user)
    lines = first.message.splitlines()
    assert lines[0] == "app.bithedge.test wants you to sign in with your Stacks account:"
    assert lines[1] == user.principal
    fields = dict(line.split(": ", 1) for line in lines[5:])
    assert fields["Chain ID"] == str(CHAIN_ID)
    assert fields["Request ID"] == first.challenge
    assert fields["Expiration Time"] == first.expire_time.ToJsonString()
    assert re.fullmatch(r"[0-9a-f]{32}", fields["Nonce"])
    assert fields["Nonce"] not in second.message


async def test_a_challenge_opens_one_session_however_many_try_at_once(identity: Identity, user: User) -> None:
    """Eight right answers at once: one session; the others hear that the challenge was used."""
    challenge = await identity.challenge(user)
    signature = user.sign(challenge.message)
    answers = await asyncio.gather(
        *(_answer(identity, challenge.challenge, signature) for _ in range(8)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 7
    assert {error.code() for error in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
    later = await refusal(_answer(identity, challenge.challenge, signature))
    assert (type(later), later.reason) == (FailedPrecondition, "CHALLENGE_CONSUMED")


async def test_a_wrong_signature_is_refused_and_burns_nothing(identity: Identity, user: User) -> None:
    """Another key, another text, another challenge: refused; the owner still gets in afterwards."""
    challenge, other = await identity.challenge(user), await identity.challenge(user)
    good = user.sign(challenge.message)
    wrong = [
        User.new().sign(challenge.message),
        user.sign(challenge.message + " "),
        user.sign(other.message),
        good[:64] + bytes([good[64] ^ 1]),
        good[:64],
        b"",
        bytes(65),
    ]
    for signature in wrong:
        refused = await refusal(_answer(identity, challenge.challenge, signature))
        assert (type(refused), refused.reason) == (Unauthenticated, "WRONG_SIGNATURE")
    assert (await _answer(identity, challenge.challenge, good)).session.principal == user.principal


async def test_the_high_twin_of_a_signature_is_refused(identity: Identity, user: User) -> None:
    """One signature has one spelling: s replaced by the order less s, which recovers to the same key, is refused."""
    challenge = await identity.challenge(user)
    good = user.sign(challenge.message)
    high = (_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    refused = await refusal(_answer(identity, challenge.challenge, good[:32] + high + bytes([good[64] ^ 1])))
    assert refused.reason == "WRONG_SIGNATURE"


async def test_attempts_are_limited(identity: Identity, user: User) -> None:
    """After ten wrong signatures even the right one is refused, at once and however they arrive."""
    challenge = await identity.challenge(user)
    wrong = User.new().sign(challenge.message)
    tries = [refusal(_answer(identity, challenge.challenge, wrong)) for _ in range(MAX_ATTEMPTS + 5)]
    reasons = [error.reason for error in await asyncio.gather(*tries)]
    assert sorted(reasons) == ["TOO_MANY_ATTEMPTS"] * 5 + ["WRONG_SIGNATURE"] * MAX_ATTEMPTS
    refused = await refusal(_answer(identity, challenge.challenge, user.sign(challenge.message)))
    assert (type(refused), refused.reason) == (ResourceExhausted, "TOO_MANY_ATTEMPTS")


async def test_a_challenge_expires_after_five_minutes(identity: Identity, user: User) -> None:
    """One second before the end it opens a session, at the end it does not."""
    challenge, other = await identity.challenge(user), await identity.challenge(user)
    identity.clock.advance(minutes=5, seconds=-2)
    await _answer(identity, challenge.challenge, user.sign(challenge.message))
    identity.clock.advance(seconds=2)
    refused = await refusal(_answer(identity, other.challenge, user.sign(other.message)))
    assert (type(refused), refused.reason) == (FailedPrecondition, "CHALLENGE_EXPIRED")


async def test_an_unknown_challenge_is_not_found(identity: Identity) -> None:
    """A well-formed name of nothing is NOT_FOUND, a malformed one INVALID_ARGUMENT naming the field."""
    unknown = await refusal(_answer(identity, "challenges/" + "0" * 32, bytes(65)))
    assert (type(unknown), unknown.reason) == (NotFound, "CHALLENGE_UNKNOWN")
    malformed = await refusal(_answer(identity, "challenges/1", bytes(65)))
    assert isinstance(malformed, InvalidArgument)
    assert [violation.field for violation in malformed.violations] == ["challenge"]


async def test_only_addresses_of_one_key_on_this_network_get_challenges(identity: Identity, user: User) -> None:
    """Main-network, multi-signature, contract, misspelled and empty principals are INVALID_PRINCIPAL."""
    mainnet = user.signer.address(Network.MAINNET).text
    multi = user.signer.address(21).text
    last = "0" if user.principal[-1] != "0" else "1"
    for principal in (
        mainnet,
        multi,
        f"{user.principal}.vault",
        user.principal.lower(),
        user.principal[:-1] + last,
        "",
    ):
        refused = await refusal(identity.stub.CreateChallenge(pb.CreateChallengeRequest(principal=principal)))
        assert isinstance(refused, InvalidArgument)
        assert refused.reason == "INVALID_PRINCIPAL"
        assert [violation.field for violation in refused.violations] == ["principal"]


async def test_challenges_are_limited_per_principal(identity: Identity, user: User) -> None:
    """Of fifteen requests at once ten are answered; after a minute they are again; others never notice."""
    requests = [identity.challenge(user) for _ in range(MAX_PER_PEER + 5)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert sum(isinstance(answer, pb.CreateChallengeResponse) for answer in answers) == MAX_PER_PEER
    before = CHALLENGES_REFUSED.labels("TOO_MANY_CHALLENGES")._value.get()
    refused = await refusal(identity.challenge(user))
    assert (type(refused), refused.reason) == (ResourceExhausted, "TOO_MANY_CHALLENGES")
    assert CHALLENGES_REFUSED.labels("TOO_MANY_CHALLENGES")._value.get() == before + 1
    await identity.challenge(User.new())
    identity.clock.advance(seconds=61)
    await identity.challenge(user)


async def test_operators_are_named_by_configuration(identity: Identity, operator: User) -> None:
    """A principal of OPERATOR_PRINCIPALS is operator besides."""
    opened = await identity.sign_in(operator)
    assert list(opened.session.roles) == [
        access_pb2.ROLE_HOLDER,
        access_pb2.ROLE_PROVIDER,
        access_pb2.ROLE_OPERATOR,
    ]

"""The verifying side of tokens, and a process's own: fetched once, fetched again when needed, honest when it cannot."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.identity.v1 import identity_service_pb2_grpc as pb_grpc
from cryptography.hazmat.primitives.asymmetric import ec

from kernel.clock import wall_now
from kernel.errors import Unauthenticated, Unavailable
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from kernel.rpc.tokens import JwksVerifier, ServiceTokens
from services.identity.keys import KeySet


def _new_keys() -> KeySet:
    return KeySet(ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Identity(pb_grpc.IdentityServiceServicer):
    """A stand-in that counts what it is asked."""

    keys: KeySet
    token_seconds: float = 600
    fetched: int = 0
    issued: int = 0

    async def GetJwks(self, request: pb.GetJwksRequest, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """The keys of the moment."""
        self.fetched += 1
        return pb.GetJwksResponse(jwks_json=self.keys.jwks_json)

    async def CreateServiceToken(
        self, request: pb.CreateServiceTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CreateServiceTokenResponse:
        """A token of `token_seconds`."""
        self.issued += 1
        answer = pb.CreateServiceTokenResponse(access_token=f"token {self.issued} of {request.client}")
        answer.expire_time.FromDatetime(wall_now() + dt.timedelta(seconds=self.token_seconds))
        return answer


@asynccontextmanager
async def _served(identity: Identity) -> AsyncIterator[grpc.aio.Channel]:
    service = Service(
        pb.DESCRIPTOR.services_by_name["IdentityService"],
        lambda server: pb_grpc.add_IdentityServiceServicer_to_server(identity, server),
    )
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, (service,), identity.keys))
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


def _token(keys: KeySet, seconds: float = 600) -> str:
    now = wall_now()
    return keys.issue("ST1", ["HOLDER"], "", now, now + dt.timedelta(seconds=seconds))


async def test_the_key_set_is_fetched_once_for_many_tokens() -> None:
    """Fifty verifications at once ask identity once."""
    identity = Identity(_new_keys())  # type: ignore[abstract]
    async with _served(identity) as channel:
        verifier = JwksVerifier(channel)
        callers = await asyncio.gather(*(verifier.verify(_token(identity.keys)) for _ in range(50)))
    assert {caller.principal for caller in callers} == {"ST1"}
    assert identity.fetched == 1


async def test_unknown_keys_do_not_flood_identity() -> None:
    """Tokens of made-up keys are refused; together they cause one fetch in five seconds."""
    identity = Identity(_new_keys())  # type: ignore[abstract]
    async with _served(identity) as channel:
        verifier = JwksVerifier(channel)
        for _ in range(10):
            with pytest.raises(Unauthenticated) as refused:
                await verifier.verify(_token(_new_keys()))
            assert refused.value.reason == "UNKNOWN_KEY"
    assert identity.fetched == 1


async def test_a_new_key_is_found_without_a_restart() -> None:
    """After an exchange of keys the first token of the new one fetches the set again."""
    identity = Identity(_new_keys())  # type: ignore[abstract]
    async with _served(identity) as channel:
        verifier = JwksVerifier(channel)
        await verifier.verify(_token(identity.keys))
        identity.keys = _new_keys()
        token, deadline = _token(identity.keys), asyncio.get_running_loop().time() + 10
        while True:
            try:
                assert (await verifier.verify(token)).principal == "ST1"
                break
            except Unauthenticated:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.25)
    assert identity.fetched == 2


async def test_a_token_that_was_accepted_ends_in_time() -> None:
    """What was verified once is not believed beyond its end, and a changed copy of it never."""
    identity = Identity(_new_keys())  # type: ignore[abstract]
    async with _served(identity) as channel:
        verifier = JwksVerifier(channel)
        token = _token(identity.keys, -3)
        assert (await verifier.verify(token)).principal == "ST1"
        assert (await verifier.verify(token)).principal == "ST1"
        head, _, signature = token.rpartition(".")
        with pytest.raises(Unauthenticated):
            await verifier.verify(f"{head}.{signature[:10]}AAAA{signature[14:]}")
        async with asyncio.timeout(60):
            with pytest.raises(Unauthenticated) as refused:  # noqa: PT012
                while await verifier.verify(token):
                    await asyncio.sleep(0.05)
    assert refused.value.reason == "TOKEN_EXPIRED"


async def test_verification_waits_for_nobody() -> None:
    """Without identity a token cannot be judged: UNAVAILABLE, never accepted and never called invalid."""
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unavailable) as refused:
            await JwksVerifier(channel).verify(_token(_new_keys()))
    assert refused.value.reason == "IDENTITY_UNAVAILABLE"


async def test_a_malformed_token_asks_nobody() -> None:
    """It is refused before any fetch."""
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unauthenticated) as refused:
            await JwksVerifier(channel).verify("noise")
    assert refused.value.reason == "INVALID_TOKEN"


async def test_a_process_keeps_its_token_until_it_nears_its_end() -> None:
    """Twenty calls at once fetch one token; one that ends within a minute is renewed each time."""
    identity = Identity(_new_keys())  # type: ignore[abstract]
    async with _served(identity) as channel:
        tokens = ServiceTokens(channel, "policy", "secret")
        assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"token 1 of policy"}
        assert identity.issued == 1
        identity.token_seconds = 59
        short = ServiceTokens(channel, "pool", "secret")
        assert [await short.token() for _ in range(2)] == ["token 2 of pool", "token 3 of pool"]


async def test_a_process_without_identity_is_told_so() -> None:
    """No token and no identity: UNAVAILABLE within the deadline."""
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unavailable) as refused:
            await ServiceTokens(channel, "policy", "secret").token()
    assert refused.value.reason == "IDENTITY_UNAVAILABLE"

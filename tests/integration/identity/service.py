"""The identity service over a real socket and a real Postgres, with a clock that tests move."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.identity.v1 import identity_service_pb2_grpc as pb_grpc
from cryptography.hazmat.primitives.asymmetric import ec

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.errors import BitHedgeError
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from kernel.rpc.status import error_from_call
from services.chain_gateway.stacks.messages import sign_plain
from services.chain_gateway.stacks.signer import KeySigner
from services.identity.__main__ import MIGRATIONS, SCHEMA
from services.identity.domain.challenge import SignInDomain
from services.identity.domain.wallet import Network
from services.identity.keys import KeySet
from services.identity.service_clients import ServiceClients
from services.identity.servicer import IdentityServicer

CHAIN_ID = 2147483648
DOMAIN = SignInDomain("app.bithedge.test", CHAIN_ID)


@dataclass
class Clock:
    """Wall time as the service sees it: the real one, shifted."""

    shift: dt.timedelta = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return wall_now() + self.shift

    def advance(self, **duration: float) -> None:
        """Moves on, by the arguments of a timedelta."""
        self.shift += dt.timedelta(**duration)


@dataclass(frozen=True)
class User:
    """A wallet held by the test: the gateway's signer, which shares no code with identity."""

    signer: KeySigner

    @classmethod
    def new(cls) -> User:
        """A wallet of a random key."""
        return cls(KeySigner(secrets.token_bytes(32) + b"\x01"))

    @property
    def principal(self) -> str:
        """Its address on the test network."""
        return self.signer.address(Network.TESTNET).text

    def sign(self, message: str) -> bytes:
        """Signs as wallets do."""
        return sign_plain(self.signer, message)


@dataclass(frozen=True)
class Identity:
    """A running identity service and how a test reaches it."""

    address: str
    stub: pb_grpc.IdentityServiceAsyncStub
    channel: grpc.aio.Channel
    database: Database
    keys: KeySet
    clock: Clock
    secrets_folder: Path

    async def challenge(self, user: User) -> pb.CreateChallengeResponse:
        """A challenge for the user."""
        return await self.stub.CreateChallenge(pb.CreateChallengeRequest(principal=user.principal))

    async def sign_in(self, user: User) -> pb.CreateSessionResponse:
        """A session of the user."""
        challenge = await self.challenge(user)
        signature = user.sign(challenge.message)
        return await self.stub.CreateSession(
            pb.CreateSessionRequest(challenge=challenge.challenge, signature=signature)
        )

    async def refresh(self, refresh_token: str) -> pb.RefreshSessionResponse:
        """New tokens for a refresh token."""
        return await self.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=refresh_token))

    async def session(self, access_token: str) -> pb.Session:
        """Who the bearer of an access token is."""
        answer = await self.stub.GetSession(pb.GetSessionRequest(), metadata=bearer(access_token))
        return answer.session


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Call metadata with a token."""
    return (("authorization", f"Bearer {token}"),)


async def refusal(call: object) -> BitHedgeError:
    """The error that a call answers; AssertionError if it succeeds."""
    try:
        await call  # type: ignore[misc]
    except grpc.aio.AioRpcError as error:
        return error_from_call(error)
    raise AssertionError("the call succeeded")


@asynccontextmanager
async def running_identity(
    database_url: str, folder: Path, operators: tuple[str, ...] = (), keys: KeySet | None = None
) -> AsyncIterator[Identity]:
    """An identity service whose client `policy` has the secret in `folder`."""
    secret = folder / "policy"
    secret.write_text(secrets.token_urlsafe(32))
    secret.chmod(0o600)
    await migrate(database_url, SCHEMA, MIGRATIONS)
    database, clock = Database(database_url), Clock()
    keys = keys or KeySet(ec.generate_private_key(ec.SECP256R1()))
    servicer = IdentityServicer(database, DOMAIN, keys, ServiceClients(folder), operators, clock)
    service = Service(
        pb.DESCRIPTOR.services_by_name["IdentityService"],
        lambda server: pb_grpc.add_IdentityServiceServicer_to_server(servicer, server),
    )
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, (service,), keys))
    address = f"127.0.0.1:{port}"
    async with open_channel(address) as channel:
        yield Identity(address, pb_grpc.IdentityServiceStub(channel), channel, database, keys, clock, folder)
    await server.stop(0)
    await database.close()

"""Tokens: verified against the identity service's JWKS; and each process's own, renewed before it ends."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Final, Protocol

import grpc
import jwt
from bithedge.identity.v1 import identity_service_pb2, identity_service_pb2_grpc

from kernel.errors import Unauthenticated, Unavailable
from kernel.rpc.caller import Caller, Role
from kernel.secret_file import read_secret_file

ISSUER: Final = "bithedge-identity"
AUDIENCE: Final = "bithedge"
_CLOCK_LEEWAY_SECONDS: Final = 5
_KEY_REFRESH_SECONDS: Final = 5.0
_RENEW_BEFORE_SECONDS: Final = 60
_DEADLINE_SECONDS: Final = 5.0
_REMEMBERED: Final = 4_096


class TokenVerifier(Protocol):
    """Turns a token into a caller."""

    async def verify(self, token: str) -> Caller:
        """The caller; Unauthenticated for any token that is not ours, valid and in time."""
        ...


class JwksVerifier:
    """Verifies ES256 tokens; an unknown key id fetches the key set again, at most every five seconds."""

    def __init__(self, identity: grpc.aio.Channel) -> None:
        self._stub = identity_service_pb2_grpc.IdentityServiceStub(identity)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()
        # Tokens whose signature was found to be good, with the time at which they end.
        self._verified: dict[str, tuple[Caller, float]] = {}

    async def verify(self, token: str) -> Caller:
        """The caller of a token."""
        caller, end = self._verified.get(token, (None, 0.0))
        if caller is not None and time.time() < end:
            return caller
        caller, end = _decode(token, await self._key(token))
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[token] = caller, end
        return caller

    async def _key(self, token: str) -> jwt.PyJWK:
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid", ""))
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("INVALID_TOKEN", "the token is malformed") from error
        async with self._lock:
            if key_id not in self._keys and time.monotonic() - self._fetched > _KEY_REFRESH_SECONDS:
                await self._fetch()
        if key_id not in self._keys:
            raise Unauthenticated("UNKNOWN_KEY", "the token is signed with a key that is not ours")
        return self._keys[key_id]

    async def _fetch(self) -> None:
        try:
            answer = await self._stub.GetJwks(identity_service_pb2.GetJwksRequest(), timeout=_DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("IDENTITY_UNAVAILABLE", "tokens cannot be verified now") from error
        keys = jwt.PyJWKSet.from_dict(json.loads(answer.jwks_json)).keys
        self._keys = {key.key_id or "": key for key in keys}
        self._verified.clear()
        self._fetched = time.monotonic()


def decode_token(token: str, key: jwt.PyJWK) -> Caller:
    """The caller of a token signed with `key`; Unauthenticated otherwise."""
    return _decode(token, key)[0]


def _decode(token: str, key: jwt.PyJWK) -> tuple[Caller, float]:
    """The caller, and until when the token may be used."""
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=_CLOCK_LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "sub", "iss", "aud"]},
        )
        roles = frozenset(Role[name] for name in claims["roles"])
    except jwt.ExpiredSignatureError as error:
        raise Unauthenticated("TOKEN_EXPIRED", "the token has expired") from error
    except (jwt.InvalidTokenError, KeyError, TypeError) as error:
        raise Unauthenticated("INVALID_TOKEN", "the token is not valid") from error
    caller = Caller(str(claims["sub"]), roles, str(claims.get("sid", "")))
    return caller, float(claims["exp"]) + _CLOCK_LEEWAY_SECONDS


class ServiceTokens:
    """The token of this process, for its own calls; fetched with its client secret, kept until it nears its end."""

    def __init__(self, identity: grpc.aio.Channel, client: str, secret: str) -> None:
        self._stub = identity_service_pb2_grpc.IdentityServiceStub(identity)
        self._request = identity_service_pb2.CreateServiceTokenRequest(client=client, secret=secret)
        self._token = ""
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    @classmethod
    def from_file(cls, identity: grpc.aio.Channel, client: str, path: Path) -> ServiceTokens:
        """With the client's secret in the file that SERVICE_SECRET_FILE names; SettingsError when it cannot be used."""
        return cls(identity, client, read_secret_file(path, "SERVICE_SECRET_FILE").decode().strip())

    async def token(self) -> str:
        """A valid token; Unavailable while the identity service does not answer and the last one has ended."""
        async with self._lock:
            if time.time() >= self._renew_at:
                await self._renew()
        return self._token

    async def _renew(self) -> None:
        try:
            answer = await self._stub.CreateServiceToken(self._request, timeout=_DEADLINE_SECONDS, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("IDENTITY_UNAVAILABLE", f"no service token: {error.details()}") from error
        self._token = answer.access_token
        self._renew_at = answer.expire_time.seconds - _RENEW_BEFORE_SECONDS

"""The calls of IdentityService."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence

from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.identity.v1 import identity_service_pb2_grpc as pb_grpc

from kernel.clock import wall_now
from kernel.database import Database
from kernel.ids import parse_resource_name
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.identity import convert, metrics
from services.identity.domain.challenge import SignInDomain
from services.identity.domain.errors import WrongClientSecret
from services.identity.domain.roles import Role, service_principal, wallet_roles
from services.identity.domain.session import Session, access_expire_time
from services.identity.keys import KeySet
from services.identity.service_clients import ServiceClients
from services.identity.sessions import delete_session, find_open_session, refresh_session
from services.identity.sign_in import request_challenge, sign_in


class IdentityServicer(pb_grpc.IdentityServiceServicer):
    """Converts, calls, replies. Roles are decided anew with every access token, so a change acts within its life."""

    def __init__(
        self,
        database: Database,
        domain: SignInDomain,
        keys: KeySet,
        clients: ServiceClients,
        operators: Collection[str],
        clock: Callable[[], dt.datetime] = wall_now,
    ) -> None:
        self._database = database
        self._domain = domain
        self._keys = keys
        self._clients = clients
        self._operators = frozenset(operators)
        self._clock = clock

    async def CreateChallenge(self, request: pb.CreateChallengeRequest, context: Context) -> pb.CreateChallengeResponse:
        """Issues a challenge."""
        peer = convert.peer_host(context.peer())
        with metrics.counting_refusals():
            challenge = await request_challenge(self._database, self._domain, request.principal, peer, self._clock())
        metrics.CHALLENGES_ISSUED.inc()
        return convert.challenge_response(challenge)

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.CreateSessionResponse:
        """Opens a session on a signed challenge."""
        now = self._clock()
        with metrics.counting_refusals():
            challenge = parse_resource_name("challenges", request.challenge, "challenge")
            session, refresh_token = await sign_in(self._database, self._domain, challenge, request.signature, now)
        metrics.SESSIONS_OPENED.inc()
        roles = wallet_roles(session.principal, self._operators)
        access_token, expire_time = self._access_token(session, roles, now)
        return pb.CreateSessionResponse(
            session=convert.session_message(session, roles),
            access_token=access_token,
            access_token_expire_time=convert.timestamp(expire_time),
            refresh_token=refresh_token,
        )

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.RefreshSessionResponse:
        """Trades a refresh token for new tokens."""
        now = self._clock()
        session, refresh_token = await refresh_session(self._database, request.refresh_token, now)
        roles = wallet_roles(session.principal, self._operators)
        access_token, expire_time = self._access_token(session, roles, now)
        return pb.RefreshSessionResponse(
            session=convert.session_message(session, roles),
            access_token=access_token,
            access_token_expire_time=convert.timestamp(expire_time),
            refresh_token=refresh_token,
        )

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Context) -> pb.DeleteSessionResponse:
        """Ends the caller's session."""
        await delete_session(self._database, current_caller().session, self._clock())
        return pb.DeleteSessionResponse()

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """Says who the caller is."""
        caller = current_caller()
        roles = convert.caller_roles(caller)
        if Role.SERVICE in roles:
            return pb.GetSessionResponse(session=convert.service_session(caller.principal, roles))
        session = await find_open_session(self._database, caller.session, self._clock())
        return pb.GetSessionResponse(session=convert.session_message(session, roles))

    async def CreateServiceToken(
        self, request: pb.CreateServiceTokenRequest, context: Context
    ) -> pb.CreateServiceTokenResponse:
        """Gives one of our processes its token."""
        try:
            self._clients.check(request.client, request.secret)
        except WrongClientSecret:
            metrics.CLIENTS_REFUSED.inc()
            raise
        now = self._clock()
        expire_time = access_expire_time(now)
        token = self._keys.issue(service_principal(request.client), [Role.SERVICE], "", now, expire_time)
        return pb.CreateServiceTokenResponse(access_token=token, expire_time=convert.timestamp(expire_time))

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        """The public keys of our tokens."""
        return pb.GetJwksResponse(jwks_json=self._keys.jwks_json)

    def _access_token(self, session: Session, roles: Sequence[Role], now: dt.datetime) -> tuple[str, dt.datetime]:
        expire_time = min(access_expire_time(now), session.expire_time)
        return self._keys.issue(session.principal, roles, session.id, now, expire_time), expire_time

"""Between protobuf and the domain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.type.v1 import access_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.ids import resource_name
from kernel.rpc.caller import Caller
from services.identity.domain.challenge import Challenge
from services.identity.domain.roles import Role
from services.identity.domain.session import Session


def timestamp(time: dt.datetime) -> Timestamp:
    """A UTC time as protobuf has it."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def challenge_response(challenge: Challenge) -> pb.CreateChallengeResponse:
    """A challenge for its wallet."""
    return pb.CreateChallengeResponse(
        challenge=resource_name("challenges", challenge.id),
        message=challenge.message,
        expire_time=timestamp(challenge.expire_time),
    )


def session_message(session: Session, roles: Iterable[Role]) -> pb.Session:
    """A session with the roles of its principal."""
    return pb.Session(
        name=resource_name("sessions", session.id),
        principal=session.principal,
        roles=[_role(role) for role in roles],
        create_time=timestamp(session.create_time),
        expire_time=timestamp(session.expire_time),
    )


def service_session(principal: str, roles: Iterable[Role]) -> pb.Session:
    """What a service, which has no session, is told of itself."""
    return pb.Session(principal=principal, roles=[_role(role) for role in roles])


def caller_roles(caller: Caller) -> tuple[Role, ...]:
    """The roles that the caller's token carries."""
    return tuple(Role[role.name] for role in sorted(caller.roles))


def _role(role: Role) -> access_pb2.Role.ValueType:
    return access_pb2.Role.Value(f"ROLE_{role}")


def peer_host(peer: str) -> str:
    """The host of a gRPC peer such as `ipv4:10.0.0.7:51234`, without the port; others as they are."""
    kind, _, address = peer.partition(":")
    return address.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer

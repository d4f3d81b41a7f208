"""Who may call what, as the protos declare it, and whose things a call is about."""

from __future__ import annotations

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2
from bithedge.identity.v1 import identity_service_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvalidArgument, PermissionDenied, Unauthenticated
from kernel.rpc.access import AccessRules
from kernel.rpc.caller import Caller, Role, current_caller, set_caller

_GATEWAY = "/bithedge.chain_gateway.v1.ChainGatewayService/"
_IDENTITY = "/bithedge.identity.v1.IdentityService/"
_RULES = AccessRules(
    [
        chain_gateway_service_pb2.DESCRIPTOR.services_by_name["ChainGatewayService"],
        identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
    ]
)
_ROLES = st.frozensets(st.sampled_from(Role))


def _undeclared() -> ServiceDescriptor:
    """A service whose only method declares no access."""
    file = descriptor_pb2.FileDescriptorProto(name="undeclared.proto", package="undeclared.v1", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="UndeclaredService")
    service.method.add(name="Do", input_type=".undeclared.v1.Nothing", output_type=".undeclared.v1.Nothing")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("undeclared.v1.UndeclaredService")


@given(_ROLES)
def test_open_methods_are_for_anyone(roles: frozenset[Role]) -> None:
    """`anyone: true` asks for no token, and a token does no harm."""
    _RULES.check(_GATEWAY + "GetTip", None)
    _RULES.check(_GATEWAY + "GetTip", Caller("ST1", roles))


@given(_ROLES)
def test_a_method_asks_for_one_of_its_roles(roles: frozenset[Role]) -> None:
    """WatchTip is for services and operators, whatever other roles the caller has."""
    method, caller = _GATEWAY + "WatchTip", Caller("ST1", roles)
    if roles & {Role.SERVICE, Role.OPERATOR}:
        _RULES.check(method, caller)
    else:
        with pytest.raises(PermissionDenied) as refused:
            _RULES.check(method, caller)
        assert refused.value.reason == "ROLE_MISSING"


def test_a_method_with_roles_asks_for_a_token() -> None:
    """Without one it is UNAUTHENTICATED, so that a client knows to sign in."""
    with pytest.raises(Unauthenticated) as refused:
        _RULES.check(_IDENTITY + "GetSession", None)
    assert refused.value.reason == "NO_TOKEN"


@pytest.mark.parametrize(
    "method",
    [
        _GATEWAY + "Unknown",
        _GATEWAY,
        "/bithedge.policy.v1.PolicyService/CreatePolicy",
        "GetTip",
        "",
        "/grpc.health.v1.HealthX/Check",
    ],
)
def test_what_is_not_described_is_closed(method: str) -> None:
    """Unknown methods and services are refused to every role."""
    for caller in (None, Caller("service:x", frozenset(Role))):
        with pytest.raises(PermissionDenied) as refused:
            _RULES.check(method, caller)
        assert refused.value.reason == "METHOD_CLOSED"


def test_a_method_that_declares_nothing_is_closed_to_all() -> None:
    """Forgetting the option opens nothing."""
    rules = AccessRules([_undeclared()])
    with pytest.raises(Unauthenticated):
        rules.check("/undeclared.v1.UndeclaredService/Do", None)
    with pytest.raises(PermissionDenied):
        rules.check("/undeclared.v1.UndeclaredService/Do", Caller("service:x", frozenset(Role)))


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
def test_health_and_reflection_are_open(method: str) -> None:
    """Probes and tools carry no token."""
    _RULES.check(method, None)


@given(_ROLES)
def test_people_reach_only_their_own(roles: frozenset[Role]) -> None:
    """Only operators and services may name another principal; an empty name is the caller's own."""
    caller = Caller("ST1", roles)
    assert caller.principal_for("") == "ST1"
    assert caller.principal_for("ST1") == "ST1"
    if roles & {Role.SERVICE, Role.OPERATOR}:
        assert caller.principal_for("ST2") == "ST2"
        with pytest.raises(InvalidArgument):
            caller.principal_for("\0")
    else:
        with pytest.raises(PermissionDenied) as refused:
            caller.principal_for("ST2")
        assert refused.value.reason == "NOT_YOURS"


@pytest.mark.parametrize("roles", [frozenset({role}) for role in Role])
def test_only_services_act_for_another(roles: frozenset[Role]) -> None:
    """Whoever else names another principal to act is refused, operators too."""
    caller = Caller("ST1", roles)
    assert (caller.acting_for(""), caller.acting_for("ST1")) == ("ST1", "ST1")
    if Role.SERVICE in roles:
        assert caller.acting_for("ST2") == "ST2"
    else:
        with pytest.raises(PermissionDenied) as refused:
            caller.acting_for("ST2")
        assert refused.value.reason == "NOT_YOURS"


def test_there_is_no_caller_without_a_token() -> None:
    """A servicer that needs a caller answers UNAUTHENTICATED when there is none."""
    set_caller(None)
    with pytest.raises(Unauthenticated):
        current_caller()

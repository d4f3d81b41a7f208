"""Which roles may call which method, read from the `access` option of the service's own description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bithedge.type.v1 import access_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from kernel.errors import PermissionDenied, Unauthenticated
from kernel.rpc.caller import Caller, Role

# Health and reflection come with grpcio and describe no access; they reveal nothing.
_OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")


@dataclass(frozen=True)
class MethodAccess:
    """Who may call one method."""

    anyone: bool
    roles: frozenset[Role]


class AccessRules:
    """The access of every method of some services; a method that declares none is refused to all."""

    def __init__(self, services: Iterable[ServiceDescriptor]) -> None:
        self._rules: Mapping[str, MethodAccess] = {
            f"/{service.full_name}/{method.name}": _declared(method)
            for service in services
            for method in service.methods
        }

    def check(self, method: str, caller: Caller | None) -> None:
        """Returns if `caller` may call `method` (`/package.Service/Method`); raises otherwise."""
        if method.startswith(_OPEN_SERVICES):
            return
        rule = self._rules.get(method)
        if rule is None:
            raise PermissionDenied("METHOD_CLOSED", "this method declares no access", method=method)
        if rule.anyone:
            return
        if caller is None:
            raise Unauthenticated("NO_TOKEN", "this call needs a token", method=method)
        if not rule.roles & caller.roles:
            names = ", ".join(sorted(role.name for role in rule.roles))
            raise PermissionDenied("ROLE_MISSING", f"this call needs one of the roles {names}", method=method)


def _declared(method: MethodDescriptor) -> MethodAccess:
    access = method.GetOptions().Extensions[access_pb2.access]
    return MethodAccess(access.anyone, frozenset(Role(role) for role in access.roles))

"""Who is calling: set by the interceptor from the token, read by servicers; never from a request body."""

from __future__ import annotations

import enum
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from bithedge.type.v1 import access_pb2

from kernel.errors import InvalidArgument, PermissionDenied, Unauthenticated

# Of Stacks addresses, contracts and `service:{name}`.
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9:._-]{1,128}")


class Role(enum.IntEnum):
    """Roles as tokens and the access option name them."""

    HOLDER = access_pb2.ROLE_HOLDER
    PROVIDER = access_pb2.ROLE_PROVIDER
    OPERATOR = access_pb2.ROLE_OPERATOR
    SERVICE = access_pb2.ROLE_SERVICE


@dataclass(frozen=True)
class Caller:
    """The verified caller of one request.

    `principal` is a Stacks address for people, `service:{name}` for our processes. `session` is empty for services.
    """

    principal: str
    roles: frozenset[Role]
    session: str = ""

    def has(self, role: Role) -> bool:
        """True if the caller has the role."""
        return role in self.roles

    def principal_for(self, requested: str) -> str:
        """Whose things the call is about: the caller's own, or `requested` if an operator or service asks."""
        if self.has(Role.SERVICE) or self.has(Role.OPERATOR):
            return _check_principal(requested) if requested else self.principal
        if requested not in ("", self.principal):
            raise PermissionDenied("NOT_YOURS", "a principal other than the caller's own was named")
        return self.principal

    def acting_for(self, requested: str) -> str:
        """Who does what the call does: the caller, or `requested` if a service asks. An operator acts for nobody."""
        if requested not in ("", self.principal) and not self.has(Role.SERVICE):
            raise PermissionDenied("NOT_YOURS", "a principal other than the caller's own was named")
        return requested or self.principal


def _check_principal(text: str) -> str:
    """What can be an address or a service, so that no database has to refuse it."""
    if not _PRINCIPAL.fullmatch(text):
        raise InvalidArgument("INVALID_PRINCIPAL", "the principal that was named is none")
    return text


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def set_caller(caller: Caller | None) -> None:
    """For the interceptor alone."""
    _caller.set(caller)


def current_caller() -> Caller:
    """The caller of the request being served; Unauthenticated if it came without a token."""
    caller = _caller.get()
    if caller is None:
        raise Unauthenticated("NO_TOKEN", "this call needs a token")
    return caller

"""Which roles a principal has."""

from __future__ import annotations

import enum
from collections.abc import Collection

SERVICE_PREFIX = "service:"


class Role(enum.StrEnum):
    """Roles by the names that tokens carry."""

    HOLDER = "HOLDER"
    PROVIDER = "PROVIDER"
    OPERATOR = "OPERATOR"
    SERVICE = "SERVICE"


def wallet_roles(principal: str, operators: Collection[str]) -> tuple[Role, ...]:
    """Every wallet may buy and provide; those named as operators also run the system."""
    return (Role.HOLDER, Role.PROVIDER) + ((Role.OPERATOR,) if principal in operators else ())


def service_principal(client: str) -> str:
    """The principal of one of our processes."""
    return SERVICE_PREFIX + client

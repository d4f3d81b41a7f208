"""Tokens for tests of one service: `principal|ROLE,ROLE` in plain text, so that a test needs no identity service."""

from __future__ import annotations

from kernel.errors import Unauthenticated
from kernel.rpc.caller import Caller, Role


class TestTokens:
    """A `TokenVerifier` that believes what `metadata` says."""

    __test__ = False  # not a class of tests, whatever its name

    async def verify(self, token: str) -> Caller:
        """The caller that the token names; Unauthenticated for any other text."""
        principal, bar, names = token.partition("|")
        known = {role.name: role for role in Role}
        listed = [name for name in names.split(",") if name]
        if not principal or not bar or not set(listed) <= set(known):
            raise Unauthenticated("INVALID_TOKEN", "the token is not valid")
        return Caller(principal, frozenset(known[name] for name in listed))


def metadata(principal: str, *roles: Role) -> tuple[tuple[str, str], ...]:
    """Call metadata of `principal` with `roles`, for a server whose verifier is `TestTokens`."""
    return (("authorization", f"Bearer {principal}|{','.join(role.name for role in roles)}"),)


def service_metadata(client: str) -> tuple[tuple[str, str], ...]:
    """Call metadata of one of our own processes, such as `workflows`."""
    return metadata(f"service:{client}", Role.SERVICE)

"""Reads a node's JSON into values of a type; what is missing or of another kind is a `NodeUnavailable`.

Only the fields that the type names are read, and each only in the form that the type gives it.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Final, TypeVar

import msgspec

from services.chain_gateway.stacks.node_errors import NodeUnavailable

ValueT = TypeVar("ValueT")
_HASH_BYTES: Final = 32

Amount = int | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,39}\Z")]
"""A number, or its decimal text, as the API writes amounts."""


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a node tells. A subclass names its hashes, which are kept in one form."""

    def _keep_hashes(self, *names: str) -> None:
        """Hashes that are there are kept as `hash_digits`."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                msgspec.structs.force_setattr(self, name, hash_digits(value))


def digits(hash_text: str) -> str:
    """The lower-case hex digits of a hash, without 0x."""
    return hash_text.removeprefix("0x").lower()


def hash_digits(text: str) -> str:
    """As `digits`; ValueError for what is no hash of 32 bytes. Much quicker than a pattern."""
    plain = text.removeprefix("0x")
    octets = bytes.fromhex(plain)
    if len(octets) != _HASH_BYTES or len(plain) != 2 * _HASH_BYTES:
        raise ValueError("not a hash")
    return octets.hex()


def read(kind: type[ValueT], body: bytes | msgspec.Raw, place: str) -> ValueT:
    """The value in a body; `place` is where it was found."""
    try:
        found: ValueT = _decoder(kind).decode(body)  # type: ignore[arg-type]  # types are hashable
    except msgspec.ValidationError as error:
        raise NodeUnavailable(f"{place}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NodeUnavailable(f"{place}: the node answered something that is not JSON") from error
    return found


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)

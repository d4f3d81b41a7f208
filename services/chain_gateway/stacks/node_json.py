"""Reads a node's JSON into values of a type; what is missing or of another kind is a `NodeUnavailable`.

Only the fields that the type names are read, and each only in the form that the type gives it.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, TypeVar

import msgspec

from services.chain_gateway.stacks.node_errors import NodeUnavailable

ValueT = TypeVar("ValueT")

Hash = Annotated[str, msgspec.Meta(pattern=r"^(0x)?[0-9a-fA-F]{64}\Z")]
"""64 hex digits, with or without the 0x that the API writes in front."""
MaybeHash = Annotated[str, msgspec.Meta(pattern=r"^((0x)?[0-9a-fA-F]{64})?\Z")]
"""A hash, or nothing."""
Amount = int | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,39}\Z")]
"""A number, or its decimal text, as the API writes amounts."""


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a node tells. A subclass names its hashes and its texts that may be empty, in the form we keep."""

    def _keep_digits(self, *names: str) -> None:
        """Hashes are kept as lower-case digits without 0x, an absent one as None."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                msgspec.structs.force_setattr(self, name, digits(value) or None)


def digits(hash_text: str) -> str:
    """The lower-case hex digits of a hash, without 0x."""
    return hash_text.removeprefix("0x").lower()


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

"""Reads fields of Clarity tuples as Python values; another kind or size than expected is a CodecError."""

from __future__ import annotations

from typing import Final

from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    NoneValue,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
)
from services.chain_gateway.stacks.errors import CodecError

_INT64_MAX: Final = 2**63 - 1


def tuple_of(value: ClarityValue) -> TupleValue:
    """The value as a tuple."""
    if not isinstance(value, TupleValue):
        raise CodecError("expected a tuple")
    return value


def uint_of(value: ClarityValue) -> int:
    """A uint that fits int64, as every amount, price and height of the contracts does."""
    if not isinstance(value, UInt) or value.value > _INT64_MAX:
        raise CodecError("expected a uint below 2**63")
    return value.value


def ok_of(value: ClarityValue) -> ClarityValue:
    """What an (ok ...) holds."""
    if not isinstance(value, ResponseOk):
        raise CodecError("expected (ok ...)")
    return value.value


def optional_of(value: ClarityValue) -> ClarityValue | None:
    """What a (some ...) holds; None for none."""
    if isinstance(value, NoneValue):
        return None
    if not isinstance(value, Some):
        raise CodecError("expected an optional")
    return value.value


def uint(value: TupleValue, name: str) -> int:
    """A uint field."""
    return uint_of(value[name])


def flag(value: TupleValue, name: str) -> bool:
    """A bool field."""
    found = value[name]
    if not isinstance(found, Bool):
        raise CodecError(f"{name}: expected a bool")
    return found.value


def text(value: TupleValue, name: str) -> str:
    """A string-ascii field."""
    found = value[name]
    if not isinstance(found, StringAscii):
        raise CodecError(f"{name}: expected a string-ascii")
    return found.value


def identifier(value: TupleValue, name: str) -> str:
    """A (buff 16) field as 32 hexadecimal digits."""
    found = value[name]
    if not isinstance(found, Buffer) or len(found.value) != 16:
        raise CodecError(f"{name}: expected a (buff 16)")
    return found.value.hex()


def principal(value: TupleValue, name: str) -> str:
    """A principal field as text."""
    found = value[name]
    if not isinstance(found, StandardPrincipal | ContractPrincipal):
        raise CodecError(f"{name}: expected a principal")
    return found.text

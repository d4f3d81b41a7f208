"""Clarity values to bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity_types import (
    MAX_DEPTH,
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    Int,
    ListValue,
    NoneValue,
    Principal,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
)
from services.chain_gateway.stacks.clarity_wire import KeyOrder, Kind
from services.chain_gateway.stacks.errors import CodecError


def address_bytes(address: Address) -> bytes:
    """A version byte and a hash."""
    return bytes((address.version,)) + address.hash160


@lru_cache(maxsize=4_096)
def name_bytes(name: str) -> bytes:
    """A name with its length in one byte in front. Kept: the same few names stand in everything that we write."""
    return bytes((len(name),)) + name.encode("ascii")


def principal_bytes(value: Principal) -> bytes:
    """A principal with its kind byte in front, as values and transfers carry it."""
    if isinstance(value, ContractPrincipal):
        return _CONTRACT_PRINCIPAL + address_bytes(value.address) + name_bytes(value.name)
    return _STANDARD_PRINCIPAL + address_bytes(value.address)


def _head(kind: Kind) -> bytes:
    return bytes((kind,))


def _with_length(head: bytes, data: bytes) -> bytes:
    return head + len(data).to_bytes(4, "big") + data


_STANDARD_PRINCIPAL: Final = _head(Kind.STANDARD_PRINCIPAL)
_CONTRACT_PRINCIPAL: Final = _head(Kind.CONTRACT_PRINCIPAL)
_INT: Final = _head(Kind.INT)
_UINT: Final = _head(Kind.UINT)
_BUFFER: Final = _head(Kind.BUFFER)
_ASCII: Final = _head(Kind.ASCII)
_UTF8: Final = _head(Kind.UTF8)
_BOOLS: Final = {True: _head(Kind.TRUE), False: _head(Kind.FALSE)}
_NONE: Final = _head(Kind.NONE)
_LIST: Final = _head(Kind.LIST)
_TUPLE: Final = _head(Kind.TUPLE)
_WRAPPERS: Final[dict[type, bytes]] = {
    Some: _head(Kind.SOME),
    ResponseOk: _head(Kind.OK),
    ResponseErr: _head(Kind.ERR),
}
# By type and not by a chain of comparisons: an argument list is mostly leaves, and this is where its time goes.
_LEAVES: Final[dict[type, Callable[[Any], bytes]]] = {
    Int: lambda leaf: _INT + leaf.value.to_bytes(16, "big", signed=True),
    UInt: lambda leaf: _UINT + leaf.value.to_bytes(16, "big"),
    Bool: lambda leaf: _BOOLS[leaf.value],
    Buffer: lambda leaf: _with_length(_BUFFER, leaf.value),
    StringAscii: lambda leaf: _with_length(_ASCII, leaf.value.encode("ascii")),
    StringUtf8: lambda leaf: _with_length(_UTF8, leaf.value.encode("utf-8")),
    StandardPrincipal: principal_bytes,
    ContractPrincipal: principal_bytes,
    NoneValue: lambda leaf: _NONE,
}


def write_value(value: ClarityValue, out: bytearray, order: KeyOrder, depth: int = 1) -> None:
    """Appends the bytes of a value; raises `CodecError` when it nests deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    leaf = _LEAVES.get(type(value))
    if leaf is not None:
        out += leaf(value)
    elif isinstance(value, TupleValue):
        out += _TUPLE + len(value.fields).to_bytes(4, "big")
        for name in order.sort(value.fields):
            out += name_bytes(name)
            write_value(value.fields[name], out, order, depth + 1)
    elif isinstance(value, ListValue):
        out += _LIST + len(value.items).to_bytes(4, "big")
        for item in value.items:
            write_value(item, out, order, depth + 1)
    elif isinstance(value, Some | ResponseOk | ResponseErr):
        out += _WRAPPERS[type(value)]
        write_value(value.value, out, order, depth + 1)
    else:
        raise CodecError(f"not a Clarity value: {type(value).__name__}")

"""Bytes to Clarity values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity_types import (
    MAX_DEPTH,
    MAX_VALUE_BYTES,
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
    check_contract_name,
    check_name,
)
from services.chain_gateway.stacks.clarity_wire import KeyOrder, Kind
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.reader import Reader

_TRUE: Final = Bool(True)
_FALSE: Final = Bool(False)
_NONE: Final = NoneValue()
# No more is remembered of what somebody else chooses: a tuple may have many thousand keys.
_FEW_KEYS: Final = 32


def read_address(reader: Reader) -> Address:
    """A version byte and a hash."""
    return Address(reader.byte(), reader.take(20))


def read_name(reader: Reader) -> str:
    """A Clarity name with its length in one byte in front."""
    return check_name(_ascii(reader.prefixed(1, 128)))


def read_contract_name(reader: Reader) -> str:
    """A contract name with its length in one byte in front."""
    return check_contract_name(_ascii(reader.prefixed(1, 40)))


def read_principal(reader: Reader) -> Principal:
    """A principal with its kind byte in front."""
    value = read_value(reader)
    if not isinstance(value, StandardPrincipal | ContractPrincipal):
        raise CodecError("not a principal")
    return value


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise CodecError("not ASCII") from error


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodecError("not UTF-8") from error


def read_value(reader: Reader, order: KeyOrder = KeyOrder.CHAIN) -> ClarityValue:
    """The next value of a longer message, such as one argument of a contract call."""
    start = reader.offset
    value = _read(reader, order, 1)
    if reader.offset - start > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")
    return value


def _uint(number: int) -> UInt:
    """A number of 16 bytes, which needs no check: the most frequent value by far."""
    value = object.__new__(UInt)
    object.__setattr__(value, "value", number)
    return value


# By the kind byte and not by a chain of comparisons: this is where the time of decoding goes.
_LEAVES: Final[dict[int, Callable[[Reader], ClarityValue]]] = {
    Kind.INT: lambda reader: Int(int.from_bytes(reader.take(16), "big", signed=True)),
    Kind.UINT: lambda reader: _uint(reader.unsigned(16)),
    Kind.BUFFER: lambda reader: Buffer(reader.prefixed(4, MAX_VALUE_BYTES)),
    Kind.TRUE: lambda reader: _TRUE,
    Kind.FALSE: lambda reader: _FALSE,
    Kind.STANDARD_PRINCIPAL: lambda reader: StandardPrincipal(read_address(reader)),
    Kind.CONTRACT_PRINCIPAL: lambda reader: ContractPrincipal(read_address(reader), _ascii(reader.prefixed(1, 40))),
    Kind.NONE: lambda reader: _NONE,
    Kind.ASCII: lambda reader: StringAscii(_ascii(reader.prefixed(4, MAX_VALUE_BYTES))),
    Kind.UTF8: lambda reader: StringUtf8(_utf8(reader.prefixed(4, MAX_VALUE_BYTES))),
}
_WRAPPERS: Final[dict[int, type[Some] | type[ResponseOk] | type[ResponseErr]]] = {
    Kind.SOME: Some,
    Kind.OK: ResponseOk,
    Kind.ERR: ResponseErr,
}


def _read(reader: Reader, order: KeyOrder, depth: int) -> ClarityValue:
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    kind = reader.byte()
    leaf = _LEAVES.get(kind)
    if leaf is not None:
        return leaf(reader)
    if kind == Kind.TUPLE:
        return _read_tuple(reader, order, depth + 1)
    if kind == Kind.LIST:
        return ListValue(tuple(_read(reader, order, depth + 1) for _ in range(_count(reader))))
    wrapper = _WRAPPERS.get(kind)
    if wrapper is None:
        raise CodecError(f"no Clarity value starts with {kind:#04x}")
    return wrapper(_read(reader, order, depth + 1))


def _count(reader: Reader) -> int:
    """A number of items, of which each takes one byte at least: so a false count costs nothing."""
    count = reader.unsigned(4)
    if count > reader.remaining:
        raise CodecError("more items than bytes")
    return count


def _read_tuple(reader: Reader, order: KeyOrder, depth: int) -> TupleValue:
    names: list[bytes] = []
    values: list[ClarityValue] = []
    for _ in range(_count(reader)):
        names.append(reader.short())
        values.append(_read(reader, order, depth))
    keys = _remembered_keys if len(names) <= _FEW_KEYS else _keys
    # Its keys are checked, and the dictionary is its own.
    value = object.__new__(TupleValue)
    object.__setattr__(value, "fields", dict(zip(keys(tuple(names), order), values, strict=True)))
    return value


def _keys(names: tuple[bytes, ...], order: KeyOrder) -> tuple[str, ...]:
    """The keys of a tuple as they are written."""
    keys = [check_name(_ascii(name)) for name in names]
    if not keys:
        raise CodecError("a tuple has at least one key")
    if len(set(keys)) != len(keys) or order.sort(keys) != keys:
        raise CodecError("tuple keys are not in ascending order")
    return tuple(keys)


# The keys of a contract's tuples are the same few each time.
_remembered_keys: Final = functools.lru_cache(maxsize=1024)(_keys)

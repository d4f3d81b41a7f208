"""Bytes to Clarity values."""

from __future__ import annotations

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


def read_address(reader: Reader) -> Address:
    """A version byte and a hash."""
    return Address(reader.unsigned(1), reader.take(20))


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


def read_value(reader: Reader, order: KeyOrder = KeyOrder.CHAIN) -> ClarityValue:
    """The next value of a longer message, such as one argument of a contract call."""
    start = reader.offset
    value = _read(reader, order, 1)
    if reader.offset - start > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")
    return value


def _read(reader: Reader, order: KeyOrder, depth: int) -> ClarityValue:
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    kind = reader.unsigned(1)
    match kind:
        case Kind.INT:
            return Int(int.from_bytes(reader.take(16), "big", signed=True))
        case Kind.UINT:
            return UInt(reader.unsigned(16))
        case Kind.BUFFER:
            return Buffer(reader.prefixed(4, MAX_VALUE_BYTES))
        case Kind.TRUE | Kind.FALSE:
            return Bool(kind == Kind.TRUE)
        case Kind.STANDARD_PRINCIPAL:
            return StandardPrincipal(read_address(reader))
        case Kind.CONTRACT_PRINCIPAL:
            return ContractPrincipal(read_address(reader), read_contract_name(reader))
        case Kind.NONE:
            return NoneValue()
        case Kind.ASCII:
            return StringAscii(_ascii(reader.prefixed(4, MAX_VALUE_BYTES)))
        case Kind.UTF8:
            return _read_utf8(reader)
        case _:
            return _read_container(kind, reader, order, depth + 1)


def _read_utf8(reader: Reader) -> StringUtf8:
    try:
        return StringUtf8(reader.prefixed(4, MAX_VALUE_BYTES).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CodecError("not UTF-8") from error


def _read_container(kind: int, reader: Reader, order: KeyOrder, depth: int) -> ClarityValue:
    match kind:
        case Kind.SOME:
            return Some(_read(reader, order, depth))
        case Kind.OK:
            return ResponseOk(_read(reader, order, depth))
        case Kind.ERR:
            return ResponseErr(_read(reader, order, depth))
        case Kind.LIST:
            return ListValue(tuple(_read(reader, order, depth) for _ in range(_count(reader))))
        case Kind.TUPLE:
            return _read_tuple(reader, order, depth)
        case _:
            raise CodecError(f"no Clarity value starts with {kind:#04x}")


def _count(reader: Reader) -> int:
    """A number of items, of which each takes one byte at least: so a false count costs nothing."""
    count = reader.unsigned(4)
    if count > reader.remaining:
        raise CodecError("more items than bytes")
    return count


def _read_tuple(reader: Reader, order: KeyOrder, depth: int) -> TupleValue:
    fields: dict[str, ClarityValue] = {}
    previous: str | None = None
    for _ in range(_count(reader)):
        name = read_name(reader)
        if previous is not None and order.rank(name) <= order.rank(previous):
            raise CodecError("tuple keys are not in ascending order")
        fields[name] = _read(reader, order, depth)
        previous = name
    return TupleValue(fields)

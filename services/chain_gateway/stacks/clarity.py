"""Clarity values and their consensus serialization (SIP-005), both ways and strict.

`deserialize` accepts exactly what `serialize` writes: truncated or trailing bytes, unsorted or repeated tuple keys,
bad names, text outside its alphabet and nesting beyond `MAX_DEPTH` are a `CodecError`.
"""

from __future__ import annotations

from enum import IntEnum

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
    parse_principal,
)
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.reader import Reader

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUE_BYTES",
    "Bool",
    "Buffer",
    "ClarityValue",
    "ContractPrincipal",
    "Int",
    "ListValue",
    "NoneValue",
    "Principal",
    "ResponseErr",
    "ResponseOk",
    "Some",
    "StandardPrincipal",
    "StringAscii",
    "StringUtf8",
    "TupleValue",
    "UInt",
    "check_contract_name",
    "check_name",
    "deserialize",
    "from_hex",
    "parse_principal",
    "principal_bytes",
    "read_principal",
    "read_value",
    "serialize",
    "to_hex",
]


class _Kind(IntEnum):
    """The byte that each serialized value starts with."""

    INT = 0x00
    UINT = 0x01
    BUFFER = 0x02
    TRUE = 0x03
    FALSE = 0x04
    STANDARD_PRINCIPAL = 0x05
    CONTRACT_PRINCIPAL = 0x06
    OK = 0x07
    ERR = 0x08
    NONE = 0x09
    SOME = 0x0A
    LIST = 0x0B
    TUPLE = 0x0C
    ASCII = 0x0D
    UTF8 = 0x0E


def serialize(value: ClarityValue) -> bytes:
    """The consensus bytes of a value; raises `CodecError` when it is too deep or too long."""
    out = bytearray()
    _write(value, out, 1)
    if len(out) > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")
    return bytes(out)


def deserialize(data: bytes) -> ClarityValue:
    """The one value that `data` holds; raises `CodecError` unless `serialize` gives the same bytes back."""
    reader = Reader(data)
    value = read_value(reader)
    reader.end()
    return value


def to_hex(value: ClarityValue) -> str:
    """The consensus bytes as hex with ``0x`` in front, as the node's interface wants arguments."""
    return "0x" + serialize(value).hex()


def from_hex(text: str) -> ClarityValue:
    """Reads hex with or without ``0x`` in front; raises `CodecError` for anything else."""
    digits = text.removeprefix("0x")
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise CodecError("not hex") from error
    if len(data) * 2 != len(digits):
        raise CodecError("not hex")
    return deserialize(data)


def read_value(reader: Reader) -> ClarityValue:
    """The next value of a longer message, such as one argument of a contract call."""
    start = reader.offset
    value = _read(reader, 1)
    if reader.offset - start > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")
    return value


def _write(value: ClarityValue, out: bytearray, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    match value:
        case Int(number):
            out += bytes([_Kind.INT]) + number.to_bytes(16, "big", signed=True)
        case UInt(number):
            out += bytes([_Kind.UINT]) + number.to_bytes(16, "big")
        case Bool(flag):
            out.append(_Kind.TRUE if flag else _Kind.FALSE)
        case Buffer(data):
            _write_bytes(_Kind.BUFFER, data, out)
        case StringAscii(text):
            _write_bytes(_Kind.ASCII, text.encode("ascii"), out)
        case StringUtf8(text):
            _write_bytes(_Kind.UTF8, text.encode("utf-8"), out)
        case StandardPrincipal() | ContractPrincipal():
            out += principal_bytes(value)
        case NoneValue():
            out.append(_Kind.NONE)
        case _:
            _write_container(value, out, depth)


def _write_bytes(kind: _Kind, data: bytes, out: bytearray) -> None:
    out.append(kind)
    out += len(data).to_bytes(4, "big")
    out += data


def _write_container(value: ClarityValue, out: bytearray, depth: int) -> None:
    match value:
        case Some(inner):
            out.append(_Kind.SOME)
            _write(inner, out, depth + 1)
        case ResponseOk(inner):
            out.append(_Kind.OK)
            _write(inner, out, depth + 1)
        case ResponseErr(inner):
            out.append(_Kind.ERR)
            _write(inner, out, depth + 1)
        case ListValue(items):
            out += bytes([_Kind.LIST]) + len(items).to_bytes(4, "big")
            for item in items:
                _write(item, out, depth + 1)
        case TupleValue(fields):
            out += bytes([_Kind.TUPLE]) + len(fields).to_bytes(4, "big")
            for name in sorted(fields):
                out += name_bytes(name)
                _write(fields[name], out, depth + 1)
        case _:
            raise CodecError(f"not a Clarity value: {type(value).__name__}")


def principal_bytes(value: Principal) -> bytes:
    """A principal with its kind byte in front, as values and transfers carry it."""
    address = bytes([value.address.version]) + value.address.hash160
    if isinstance(value, ContractPrincipal):
        return bytes([_Kind.CONTRACT_PRINCIPAL]) + address + name_bytes(value.name)
    return bytes([_Kind.STANDARD_PRINCIPAL]) + address


def name_bytes(name: str) -> bytes:
    """A name with its length in one byte in front."""
    return bytes([len(name)]) + name.encode("ascii")


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
    value = _read(reader, 1)
    if not isinstance(value, StandardPrincipal | ContractPrincipal):
        raise CodecError("not a principal")
    return value


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise CodecError("not ASCII") from error


def _read(reader: Reader, depth: int) -> ClarityValue:
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    kind = reader.unsigned(1)
    match kind:
        case _Kind.INT:
            return Int(int.from_bytes(reader.take(16), "big", signed=True))
        case _Kind.UINT:
            return UInt(reader.unsigned(16))
        case _Kind.BUFFER:
            return Buffer(reader.prefixed(4, MAX_VALUE_BYTES))
        case _Kind.TRUE | _Kind.FALSE:
            return Bool(kind == _Kind.TRUE)
        case _Kind.STANDARD_PRINCIPAL:
            return StandardPrincipal(read_address(reader))
        case _Kind.CONTRACT_PRINCIPAL:
            return ContractPrincipal(read_address(reader), read_contract_name(reader))
        case _Kind.NONE:
            return NoneValue()
        case _Kind.ASCII:
            return StringAscii(_ascii(reader.prefixed(4, MAX_VALUE_BYTES)))
        case _Kind.UTF8:
            return _read_utf8(reader)
        case _:
            return _read_container(kind, reader, depth + 1)


def _read_utf8(reader: Reader) -> StringUtf8:
    try:
        return StringUtf8(reader.prefixed(4, MAX_VALUE_BYTES).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CodecError("not UTF-8") from error


def _read_container(kind: int, reader: Reader, depth: int) -> ClarityValue:
    match kind:
        case _Kind.SOME:
            return Some(_read(reader, depth))
        case _Kind.OK:
            return ResponseOk(_read(reader, depth))
        case _Kind.ERR:
            return ResponseErr(_read(reader, depth))
        case _Kind.LIST:
            return ListValue(tuple(_read(reader, depth) for _ in range(_count(reader))))
        case _Kind.TUPLE:
            return _read_tuple(reader, depth)
        case _:
            raise CodecError(f"no Clarity value starts with {kind:#04x}")


def _count(reader: Reader) -> int:
    """A number of items, of which each takes one byte at least: so a false count costs nothing."""
    count = reader.unsigned(4)
    if count > reader.remaining:
        raise CodecError("more items than bytes")
    return count


def _read_tuple(reader: Reader, depth: int) -> TupleValue:
    fields: dict[str, ClarityValue] = {}
    previous = ""
    for _ in range(_count(reader)):
        name = read_name(reader)
        if name <= previous:
            raise CodecError("tuple keys are not in ascending order")
        fields[name] = _read(reader, depth)
        previous = name
    return TupleValue(fields)

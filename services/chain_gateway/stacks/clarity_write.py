"""Clarity values to bytes."""

from __future__ import annotations

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


def write_value(value: ClarityValue, out: bytearray, order: KeyOrder, depth: int = 1) -> None:
    """Appends the bytes of a value; raises `CodecError` when it nests deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise CodecError("nested too deeply")
    match value:
        case Int(number):
            out += bytes([Kind.INT]) + number.to_bytes(16, "big", signed=True)
        case UInt(number):
            out += bytes([Kind.UINT]) + number.to_bytes(16, "big")
        case Bool(flag):
            out.append(Kind.TRUE if flag else Kind.FALSE)
        case Buffer(data):
            _write_bytes(Kind.BUFFER, data, out)
        case StringAscii(text):
            _write_bytes(Kind.ASCII, text.encode("ascii"), out)
        case StringUtf8(text):
            _write_bytes(Kind.UTF8, text.encode("utf-8"), out)
        case StandardPrincipal() | ContractPrincipal():
            out += principal_bytes(value)
        case NoneValue():
            out.append(Kind.NONE)
        case _:
            _write_container(value, out, order, depth)


def _write_bytes(kind: Kind, data: bytes, out: bytearray) -> None:
    out.append(kind)
    out += len(data).to_bytes(4, "big")
    out += data


def _write_container(value: ClarityValue, out: bytearray, order: KeyOrder, depth: int) -> None:
    match value:
        case Some(inner):
            out.append(Kind.SOME)
            write_value(inner, out, order, depth + 1)
        case ResponseOk(inner):
            out.append(Kind.OK)
            write_value(inner, out, order, depth + 1)
        case ResponseErr(inner):
            out.append(Kind.ERR)
            write_value(inner, out, order, depth + 1)
        case ListValue(items):
            out += bytes([Kind.LIST]) + len(items).to_bytes(4, "big")
            for item in items:
                write_value(item, out, order, depth + 1)
        case TupleValue(fields):
            out += bytes([Kind.TUPLE]) + len(fields).to_bytes(4, "big")
            for name in sorted(fields, key=order.rank):
                out += name_bytes(name)
                write_value(fields[name], out, order, depth + 1)
        case _:
            raise CodecError(f"not a Clarity value: {type(value).__name__}")


def principal_bytes(value: Principal) -> bytes:
    """A principal with its kind byte in front, as values and transfers carry it."""
    address = bytes([value.address.version]) + value.address.hash160
    if isinstance(value, ContractPrincipal):
        return bytes([Kind.CONTRACT_PRINCIPAL]) + address + name_bytes(value.name)
    return bytes([Kind.STANDARD_PRINCIPAL]) + address


def name_bytes(name: str) -> bytes:
    """A name with its length in one byte in front."""
    return bytes([len(name)]) + name.encode("ascii")

"""Clarity values and their consensus serialization (SIP-005), both ways and strict.

By default tuple keys are in the order of the chain (see `KeyOrder`). `deserialize` accepts exactly what
`serialize` writes: truncated or trailing bytes, unsorted or repeated tuple keys,
bad names, text outside its alphabet and nesting beyond `MAX_DEPTH` are a `CodecError`.
"""

from __future__ import annotations

from services.chain_gateway.stacks.clarity_read import read_principal, read_value
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
from services.chain_gateway.stacks.clarity_wire import KeyOrder
from services.chain_gateway.stacks.clarity_write import principal_bytes, write_value
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
    "KeyOrder",
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
    "append_value",
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


def serialize(value: ClarityValue, order: KeyOrder = KeyOrder.CHAIN) -> bytes:
    """The consensus bytes of a value; raises `CodecError` when it is too deep or too long."""
    out = bytearray()
    append_value(value, out, order)
    return bytes(out)


def append_value(value: ClarityValue, out: bytearray, order: KeyOrder = KeyOrder.CHAIN) -> None:
    """Appends the consensus bytes of a value to those of a longer message; raises `CodecError` as `serialize` does."""
    start = len(out)
    write_value(value, out, order)
    if len(out) - start > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")


def deserialize(data: bytes, order: KeyOrder = KeyOrder.CHAIN) -> ClarityValue:
    """The one value that `data` holds; raises `CodecError` unless `serialize` gives the same bytes back."""
    reader = Reader(data)
    value = read_value(reader, order)
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

"""Clarity values as the vectors describe them."""

from __future__ import annotations

from typing import Any

from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    Int,
    KeyOrder,
    ListValue,
    NoneValue,
    ResponseErr,
    ResponseOk,
    Some,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
    parse_principal,
    serialize,
)
from tests.vectors.entry import Entry


def to_value(description: dict[str, Any]) -> ClarityValue:
    """The value that a description means; tuples keep the order of its keys."""
    kind, content = description["type"], description.get("value")
    match kind:
        case "int":
            return Int(int(_text(content)))
        case "uint":
            return UInt(int(_text(content)))
        case "bool":
            return Bool(content)  # type: ignore[arg-type]  # refused by Bool unless it is one
        case "buffer":
            return Buffer(bytes.fromhex(_text(content)))
        case "string-ascii":
            return StringAscii(_text(content))
        case "string-utf8":
            return StringUtf8(_text(content))
        case "principal":
            return parse_principal(_text(content))
        case "none":
            return NoneValue()
        case "list":
            return ListValue(tuple(map(to_value, _items(content))))
        case "tuple":
            return TupleValue({name: to_value(item) for name, item in _items(content)})
        case _:
            return _wrapped(kind, description["value"])


def key_order(entry: Entry, *values: ClarityValue) -> KeyOrder:
    """The chain's order of tuple keys; where the peer's differs for these values, that, said aloud."""
    if all(serialize(value) == serialize(value, KeyOrder.COLLATED) for value in values):
        return KeyOrder.CHAIN
    entry.notes.append("tuple keys compared in the peer's order; the chain sorts them by bytes")
    return KeyOrder.COLLATED


def _wrapped(kind: str, content: dict[str, Any]) -> ClarityValue:
    match kind:
        case "some":
            return Some(to_value(content))
        case "ok":
            return ResponseOk(to_value(content))
        case "err":
            return ResponseErr(to_value(content))
        case _:
            raise ValueError(f"unknown type {kind!r} in a description")


def _text(content: object) -> str:
    if not isinstance(content, str):
        raise TypeError("a description holds text here")
    return content


def _items(content: object) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError("a description holds a list here")
    return content

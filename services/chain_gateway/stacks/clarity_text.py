"""Clarity values as text, in the notation that wallets and explorers show."""

from __future__ import annotations

from services.chain_gateway.stacks.clarity_types import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    Int,
    ListValue,
    NoneValue,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
)
from services.chain_gateway.stacks.errors import CodecError


def render(value: ClarityValue) -> str:
    """The value as text, for people; quotes in strings are not escaped, so it cannot be read back."""
    match value:
        case Int(number):
            return str(number)
        case UInt(number):
            return f"u{number}"
        case Bool(flag):
            return "true" if flag else "false"
        case Buffer(data):
            return "0x" + data.hex()
        case StringAscii(text):
            return f'"{text}"'
        case StringUtf8(text):
            return f'u"{text}"'
        case StandardPrincipal() | ContractPrincipal():
            return value.text
        case NoneValue():
            return "none"
        case _:
            return _render_container(value)


def _render_container(value: ClarityValue) -> str:
    match value:
        case Some(inner):
            return f"(some {render(inner)})"
        case ResponseOk(inner):
            return f"(ok {render(inner)})"
        case ResponseErr(inner):
            return f"(err {render(inner)})"
        case ListValue(items):
            return f"(list {' '.join(map(render, items))})"
        case TupleValue(fields):
            return f"(tuple {' '.join(f'({name} {render(item)})' for name, item in fields.items())})"
        case _:
            raise CodecError(f"not a Clarity value: {type(value).__name__}")

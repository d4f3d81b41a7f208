"""Reads the one printed Clarity value that the oracle acts on: a flat tuple of uints, buffers, texts, principals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_UINT, _BUFFER, _STANDARD, _CONTRACT, _TUPLE, _ASCII = 0x01, 0x02, 0x05, 0x06, 0x0C, 0x0D
_ACCOUNT_BYTES: Final = 21


class UnreadableValue(ValueError):
    """Bytes that are no such tuple."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise UnreadableValue("the value ends early")
        self._at += count
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def at_end(self) -> bool:
        return self._at == len(self._data)


def read_flat_tuple(data: bytes) -> Mapping[str, int | bytes | str]:
    """The fields of a serialized tuple: uints as int, buffers and principals as bytes, ASCII text as str.

    UnreadableValue for anything else.
    """
    reader = _Reader(data)
    if reader.number(1) != _TUPLE:
        raise UnreadableValue("not a tuple")
    fields: dict[str, int | bytes | str] = {}
    for _ in range(reader.number(4)):
        name = reader.take(reader.number(1)).decode("ascii", "replace")
        fields[name] = _read_field(reader)
    if not reader.at_end():
        raise UnreadableValue("bytes after the value")
    return fields


def _read_field(reader: _Reader) -> int | bytes | str:
    kind = reader.number(1)
    if kind == _UINT:
        return reader.number(16)
    if kind == _BUFFER:
        return reader.take(reader.number(4))
    if kind == _ASCII:
        return reader.take(reader.number(4)).decode("ascii", "replace")
    if kind == _STANDARD:
        return reader.take(_ACCOUNT_BYTES)
    if kind == _CONTRACT:
        account = reader.take(_ACCOUNT_BYTES)
        return account + reader.take(reader.number(1))
    raise UnreadableValue(f"a field of kind {kind:#04x}")

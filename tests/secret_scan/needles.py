"""The forms in which a secret could show: raw, written as digits, encoded, and encoded once more.

A part is enough: of each secret both halves are looked for, so that a line break or a cut in one does not hide it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SHORTEST: Final = 12
"""Bytes of a needle; shorter ones would be found by chance."""


@dataclass(frozen=True)
class Secret:
    """A secret by name: its bytes, and as text where it was never anything else."""

    name: str
    value: bytes
    is_text: bool = False


@dataclass(frozen=True)
class Needle:
    """A run of bytes that gives a secret away, and what it is."""

    pattern: bytes
    secret: str
    form: str


def needles_of(secret: Secret) -> list[Needle]:
    """Every form of a secret, each pattern once."""
    found: dict[bytes, Needle] = {}
    for form, pattern in _forms(secret):
        if len(pattern) >= _SHORTEST:
            found.setdefault(pattern, Needle(pattern, secret.name, form))
    return list(found.values())


def _forms(secret: Secret) -> Iterator[tuple[str, bytes]]:
    first, second = _halves(secret.value)
    for part, value in (("", secret.value), ("first half, ", first), ("second half, ", second)):
        for form, pattern in _written(value, secret.is_text):
            yield part + form, pattern
            if form != "raw":
                for outer, encoded in _encoded(pattern):
                    yield f"{part}{form}, then {outer}", encoded


def _halves(value: bytes) -> tuple[bytes, bytes]:
    middle = len(value) // 2
    return value[:middle], value[middle:]


def _written(value: bytes, is_text: bool) -> Iterator[tuple[str, bytes]]:
    yield "raw", value
    yield from _encoded(value)
    if is_text:
        return
    yield "reversed", value[::-1]
    yield "reversed hex", value[::-1].hex().encode()
    yield "decimal", str(int.from_bytes(value, "big")).encode()
    yield "decimal, little end first", str(int.from_bytes(value, "little")).encode()
    for separator in (", ", ",", " "):
        yield "list of decimals", separator.join(map(str, value)).encode()
    for separator in (":", " "):
        yield "hex pairs", value.hex(separator).encode()
        yield "hex pairs", value.hex(separator).upper().encode()


def _encoded(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "hex", value.hex().encode()
    yield "upper hex", value.hex().upper().encode()
    for offset in range(3):
        inner = _base64_inside(value, offset)
        yield f"base64 at {offset}", inner
        yield f"base64url at {offset}", inner.translate(bytes.maketrans(b"+/", b"-_"))


def _base64_inside(value: bytes, offset: int) -> bytes:
    """The digits that `value` alone decides when `offset` other bytes stand before it, modulo three."""
    first, last = -(-8 * offset // 6), 8 * (offset + len(value)) // 6
    return base64.b64encode(bytes(offset) + value + bytes(2))[first:last]

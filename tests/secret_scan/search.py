"""Finds many needles in much data at once: a table of hashes of eight bytes says where to look closely."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tests.secret_scan.needles import Needle

_WINDOW: Final = 8
_TABLE_BITS: Final = 22
_MULTIPLIER: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_CHUNK: Final = 8 << 20
_ESCAPE: Final = re.compile(
    rb"\\x([0-9a-fA-F]{2})|\\u00([0-9a-fA-F]{2})|%([0-9a-fA-F]{2})|\\([0-3][0-7]{2})|\\(.)", re.S
)


@dataclass(frozen=True)
class Hit:
    """A needle and how the data had to be read to see it. What was found is not repeated."""

    needle: Needle
    view: str


class Searcher:
    """Searches data for needles, also through escapes, line breaks and two-byte characters."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._buckets: dict[int, list[Needle]] = defaultdict(list)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._longest = _WINDOW
        for needle in needles:
            head = np.frombuffer(needle.pattern[:_WINDOW], dtype="<u8")
            place = int(_hashes(head)[0])
            self._table[place] = True
            self._buckets[place].append(needle)
            self._longest = max(self._longest, len(needle.pattern))

    def hits(self, data: bytes) -> set[Hit]:
        """Everything that is found in some data."""
        found: set[Hit] = set()
        for start in range(0, max(1, len(data)), _CHUNK):
            chunk = data[start : start + _CHUNK + 4 * self._longest]
            for name, view in _VIEWS.items():
                seen = view(chunk)
                if seen is not None:
                    found |= {Hit(needle, name) for needle in self._find(seen)}
        return found

    def _find(self, data: bytes) -> Iterator[Needle]:
        for offset in range(_WINDOW):
            count = (len(data) - offset) // _WINDOW
            if count <= 0:
                return
            places = _hashes(np.frombuffer(data, dtype="<u8", count=count, offset=offset))
            for index in np.flatnonzero(self._table[places]):
                position = offset + _WINDOW * int(index)
                for needle in self._buckets[int(places[index])]:
                    if data.startswith(needle.pattern, position):
                        yield needle


def _hashes(windows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return (windows * _MULTIPLIER) >> np.uint64(64 - _TABLE_BITS)


def _without(data: bytes, *gaps: bytes) -> bytes | None:
    if not any(gap in data for gap in gaps):
        return None
    for gap in gaps:
        data = data.replace(gap, b"")
    return data


def _unescaped(data: bytes) -> bytes | None:
    if b"\\" not in data and b"%" not in data:
        return None
    return _ESCAPE.sub(_unescape, data)


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[4] is not None:
        return bytes([int(match[4], 8)])
    if match[5] is not None:
        return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}.get(match[5], match[5])
    return bytes([int(match[1] or match[2] or match[3], 16)])


_VIEWS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "as it is": lambda data: data,
    "without zeros, as of two-byte characters": lambda data: _without(data, b"\0"),
    "without line breaks": lambda data: _without(data, b"\r", b"\n", b"\\n", b"\\r"),
    "with escapes resolved": _unescaped,
    "with escapes resolved, without zeros": lambda data: _without(_unescaped(data) or b"", b"\0"),
}

"""Cursors of event streams: opaque to consumers, the last sequence seen within."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kernel.errors import InvalidArgument

_FORM: Final = re.compile(r"v1\.([ft])\.(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Cursor:
    """A place in one of the two streams: of final events, or of those at the tip."""

    final: bool
    sequence: int


def encode_cursor(cursor: Cursor) -> str:
    """The cursor as consumers keep it."""
    return f"v1.{'f' if cursor.final else 't'}.{cursor.sequence}"


def parse_cursor(text: str, final: bool) -> Cursor:
    """Reads a cursor of the stream asked for; the start for an empty text; InvalidArgument for any other."""
    if not text:
        return Cursor(final, 0)
    found = _FORM.fullmatch(text)
    if found is None or (found[1] == "f") != final:
        raise InvalidArgument.of("cursor", "is not a cursor of this stream", "INVALID_CURSOR")
    return Cursor(final, int(found[2]))

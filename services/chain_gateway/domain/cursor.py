"""Cursors of event streams: opaque to consumers, the last sequence seen within."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kernel.errors import InvalidArgument

_FORM: Final = re.compile(r"v1\.(t|f|f[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Cursor:
    """A place in one of the streams: of events at the tip, or of final ones.

    `burn_confirmations` is the number that the consumer asked for; 0 is the service's own, whatever that is.
    """

    final: bool
    sequence: int
    burn_confirmations: int = 0

    @property
    def stream(self) -> str:
        """Which stream it is of: a cursor leads on in no other."""
        return f"f{self.burn_confirmations or ''}" if self.final else "t"


def encode_cursor(cursor: Cursor) -> str:
    """The cursor as consumers keep it."""
    return f"v1.{cursor.stream}.{cursor.sequence}"


def parse_cursor(text: str, final: bool, burn_confirmations: int = 0) -> Cursor:
    """Reads a cursor of the stream asked for; the start for an empty text; InvalidArgument for any other."""
    start = Cursor(final, 0, burn_confirmations)
    if not text:
        return start
    found = _FORM.fullmatch(text)
    if found is None or found[1] != start.stream:
        raise InvalidArgument.of("cursor", "is not a cursor of this stream", "INVALID_CURSOR")
    return Cursor(final, int(found[2]), burn_confirmations)

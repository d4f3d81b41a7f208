"""How a reader of a feed goes on: cursors, pages, and lines as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from kernel.errors import InvalidArgument

_DIGITS: Final = 18


class Numbered(Protocol):
    """A line that has its number."""

    @property
    def number(self) -> int:
        """Its place in the feed."""


LineT = TypeVar("LineT", bound=Numbered)


def read_number(text: str, field_name: str) -> int:
    """A number that we gave; InvalidArgument for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidArgument.of(field_name, "not a token of ours", "INVALID_RESUME_TOKEN")
    return int(text)


def read_cursor(text: str) -> int:
    """The number of a `cursor`, zero for an empty one; InvalidArgument for one that we did not give."""
    return read_number(text, "cursor") if text else 0


def start_of(after: int, last: int) -> int:
    """From where a reader goes on: one who has more than was ever given, as from another database, starts over."""
    return after if after <= last else 0


def cursor_after(lines: Sequence[Numbered], size: int, after: int, last: int) -> str:
    """What to go on with after a page of lines; `last` was read before the page was."""
    full = len(lines) == size
    return str(lines[-1].number if full else max(last, after, *(line.number for line in lines)))


async def follow(
    read: Callable[[int], Awaitable[Sequence[LineT]]], after: int, changed: Callable[[], Awaitable[Any]]
) -> AsyncIterator[LineT]:
    """All lines after a number that `read` gives, then those that it gives once something has `changed`, for ever."""
    while True:
        while lines := await read(after):
            for line in lines:
                after = line.number
                yield line
        await changed()

"""How many rows a page of a list holds."""

from __future__ import annotations

from kernel.errors import InvalidArgument


def page_size(asked: int, default: int, most: int) -> int:
    """`default` where none is asked for, `most` at most; InvalidArgument for a negative number."""
    if asked < 0:
        raise InvalidArgument.of("page_size", "must not be negative")
    return min(asked or default, most)

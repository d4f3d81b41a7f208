"""Reads fields of a node's JSON; what is missing or of another kind is a `NodeUnavailable`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from services.chain_gateway.stacks.node_errors import NodeUnavailable

_Item = TypeVar("_Item")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Fields:
    """One JSON object of an answer. `place` is where it was found: a path, or an object and a name in it."""

    __slots__ = ("_found_at", "content")

    def __init__(self, content: object, place: str | tuple[Fields, str]) -> None:
        self._found_at = place
        if not isinstance(content, dict):
            raise NodeUnavailable(f"{self._place}: not an object")
        self.content: dict[str, Any] = content

    @property
    def _place(self) -> str:
        """Spelled only when something is wrong there: most objects are read without."""
        if isinstance(self._found_at, str):
            return self._found_at
        within, name = self._found_at
        return f"{within._place}.{name}"

    def integer(self, name: str) -> int:
        """A number without fraction, or its decimal or 0x text."""
        value = self.content.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            try:
                return int(value, 16) if value.startswith("0x") else int(value)
            except ValueError:
                pass
        raise NodeUnavailable(f"{self._place}: {name} is not a whole number")

    def optional_integer(self, name: str) -> int | None:
        """As `integer`; None when null or missing."""
        return None if self.content.get(name) is None else self.integer(name)

    def number(self, name: str) -> float:
        """A number that may have a fraction: a time or a speed, never an amount."""
        value = self.content.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise NodeUnavailable(f"{self._place}: {name} is not a number")
        return float(value)

    def text(self, name: str) -> str:
        """A text, which may be empty."""
        value = self.content.get(name)
        if not isinstance(value, str):
            raise NodeUnavailable(f"{self._place}: {name} is not text")
        return value

    def optional_text(self, name: str) -> str | None:
        """As `text`; None when null, empty or missing."""
        return self.text(name) if self.content.get(name) else None

    def hash(self, name: str) -> str:
        """64 lower-case hex digits, without the 0x that the API writes in front."""
        return self._hash(name, self.text(name))

    def optional_hash(self, name: str) -> str | None:
        """As `hash`; None when null, empty or missing."""
        return self.hash(name) if self.content.get(name) else None

    def hashes(self, name: str) -> tuple[str, ...]:
        """A list of hashes."""
        return tuple(self._hash(name, item) for item in self.items(name))

    def octets(self, name: str) -> bytes:
        """Bytes written as hex digits, with or without 0x."""
        try:
            return bytes.fromhex(self.text(name).removeprefix("0x"))
        except ValueError:
            raise NodeUnavailable(f"{self._place}: {name} is not hex") from None

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self.content.get(name)
        if not isinstance(value, bool):
            raise NodeUnavailable(f"{self._place}: {name} is not true or false")
        return value

    def items(self, name: str) -> list[Any]:
        """A list."""
        value = self.content.get(name)
        if not isinstance(value, list):
            raise NodeUnavailable(f"{self._place}: {name} is not a list")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self.items(name)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise NodeUnavailable(f"{self._place}: {name} holds something else than whole numbers")
        return tuple(values)

    def objects(self, name: str) -> Iterator[Fields]:
        """A list of objects."""
        for item in self.items(name):
            yield Fields(item, (self, name))

    def object(self, name: str) -> Fields:
        """An object within."""
        return Fields(self.content.get(name), (self, name))

    def optional_object(self, name: str) -> Fields | None:
        """As `object`; None when null or missing."""
        return None if self.content.get(name) is None else self.object(name)

    def _hash(self, name: str, value: Any) -> str:
        digits = value.removeprefix("0x").lower() if isinstance(value, str) else ""
        if not _HASH.fullmatch(digits):
            raise NodeUnavailable(f"{self._place}: {name} is not a hash")
        return digits


def read_list(fields: Fields, name: str, read: Callable[[Fields], _Item]) -> tuple[_Item, ...]:
    """A list of objects, each read by `read`."""
    return tuple(read(item) for item in fields.objects(name))

"""The bytes that tell serialized Clarity values apart, and the order of tuple keys."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, IntEnum

_COLLATION = "_-!?*/+<=>0123456789abcdefghijklmnopqrstuvwxyz"


class Kind(IntEnum):
    """The byte that each serialized value starts with."""

    INT = 0x00
    UINT = 0x01
    BUFFER = 0x02
    TRUE = 0x03
    FALSE = 0x04
    STANDARD_PRINCIPAL = 0x05
    CONTRACT_PRINCIPAL = 0x06
    OK = 0x07
    ERR = 0x08
    NONE = 0x09
    SOME = 0x0A
    LIST = 0x0B
    TUPLE = 0x0C
    ASCII = 0x0D
    UTF8 = 0x0E


class KeyOrder(Enum):
    """The order in which a tuple's keys are written.

    The chain's ``to-consensus-buff?`` sorts by bytes; the Stacks JavaScript libraries sort by Unicode
    collation. The two agree for keys of lower-case letters, digits and hyphens, and differ for upper case,
    ``_``, ``!`` and ``?``: what such a library signs with such a key, the chain hashes to something else.
    """

    CHAIN = "chain"
    COLLATED = "collated"

    def sort(self, names: Iterable[str]) -> list[str]:
        """Names in this order."""
        return sorted(names) if self is KeyOrder.CHAIN else sorted(names, key=self.rank)

    def rank(self, name: str) -> tuple[str | tuple[int, ...], str]:
        """A key to sort names by."""
        if self is KeyOrder.CHAIN:
            return name, ""
        return tuple(_COLLATION.index(letter) for letter in name.lower()), name.swapcase()

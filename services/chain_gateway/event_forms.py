"""Recognises prints of a form that was judged before, so that a chain's history is not judged event by event.

A form is all of a print's bytes but those that may differ without changing what it is: the low bits of its numbers, and
what its buffers and addresses hold. Most prints of a chain share a few dozen forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.chain_gateway.stacks.clarity import Buffer, StandardPrincipal, TupleValue, UInt, serialize

# Their numbers are names of something: another number is another form.
_NAMES: Final = frozenset({"token", "tier"})
# By the bits that a number fits into, how many of them may differ: 31 fit every field, 36 every time. The last time
# that a protobuf can hold has 38, so that one such number says nothing of another.
_FREE_BITS: Final = {31: 31, 36: 36, 38: 0, 63: 63}
_FORMS_REMEMBERED: Final = 256
_ADDRESS_BITS: Final = 160


class EventForms:
    """The topics of forms that were judged."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
        self._count = 0

    def topic(self, contract: str, value: bytes) -> str | None:
        """The topic that the contract's prints of this form have; None when the form was not judged yet."""
        forms = self._forms.get((contract, len(value)))
        if forms is not None:
            number = int.from_bytes(value, "big")
            for fixed, form, topic in forms:
                if number & fixed == form:
                    return topic
        return None

    def learn(self, contract: str, value: bytes, printed: TupleValue, topic: str) -> None:
        """Remembers the form of a print that was judged, `printed` as read from `value`."""
        if self._count == _FORMS_REMEMBERED:
            self._forms.clear()
            self._count = 0
        fixed = (1 << 8 * len(value)) - 1
        for low, bits in _free(printed, len(value)):
            fixed ^= ((1 << bits) - 1) << low
        forms = self._forms.setdefault((contract, len(value)), [])
        forms.append((fixed, int.from_bytes(value, "big") & fixed, topic))
        self._count += 1


def _free(printed: TupleValue, length: int) -> Iterator[tuple[int, int]]:
    """Runs of bits that may differ: the place of the lowest, counted from the end of the value, and how many."""
    # The kind and the count come first; then each key with its length in a byte, and its value.
    end = 1 + 4
    for name in sorted(printed.fields):
        one = printed.fields[name]
        end += 1 + len(name) + len(serialize(one))
        low = 8 * (length - end)
        if isinstance(one, UInt) and name not in _NAMES:
            yield low, next((free for bits, free in _FREE_BITS.items() if one.value >> bits == 0), 0)
        elif isinstance(one, Buffer):
            yield low, 8 * len(one.value)
        elif isinstance(one, StandardPrincipal):
            yield low, _ADDRESS_BITS

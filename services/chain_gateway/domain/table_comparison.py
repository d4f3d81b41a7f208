"""Compares what is stored of a stretch of the chain with what the chain holds."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from services.chain_gateway.domain.event_record import EventKey, EventRecord

# Which keys were ours is a matter of configuration, not of the chain: a key that is retired takes no fee with it.
_NOT_OF_THE_CHAIN: Final = frozenset({"backend_fee_ustx"})
_COMPARED: Final = tuple(one.name for one in fields(EventRecord) if one.name not in _NOT_OF_THE_CHAIN)


class DifferenceKind(enum.StrEnum):
    """In which way a stored table differs from the chain."""

    MISSING_BLOCK = "missing_block"
    EXTRA_BLOCK = "extra_block"
    MISSING_EVENT = "missing_event"
    EXTRA_EVENT = "extra_event"
    CHANGED_EVENT = "changed_event"
    WRONG_ORDER = "wrong_order"
    BROKEN_HISTORY = "broken_history"


@dataclass(frozen=True)
class Difference:
    """One difference. `txid` is empty for a block; `detail` says what differs."""

    kind: DifferenceKind
    stacks_height: int
    index_hash: str = ""
    txid: str = ""
    event_index: int = 0
    detail: str = ""


def compare_blocks(stored: Mapping[int, str], chain: Mapping[int, str]) -> list[Difference]:
    """Differences of two maps from height to index hash."""
    return [
        Difference(kind, height, there)
        for height in sorted(stored.keys() | chain.keys())
        if stored.get(height) != chain.get(height)
        for kind, there in (
            (DifferenceKind.EXTRA_BLOCK, stored.get(height)),
            (DifferenceKind.MISSING_BLOCK, chain.get(height)),
        )
        if there is not None
    ]


def compare_events(stored: Iterable[EventRecord], chain: Iterable[EventRecord]) -> list[Difference]:
    """Differences of stored events, in the order of their sequences, from the chain's, in the chain's order."""
    ours, theirs = _by_key(stored), _by_key(chain)
    found: list[Difference] = []
    for key, event in theirs.items():
        mine = ours.get(key)
        if mine is None:
            found.append(_difference(DifferenceKind.MISSING_EVENT, event))
        elif changed := _changed(mine, event):
            found.append(_difference(DifferenceKind.CHANGED_EVENT, mine, f"differs in {', '.join(changed)}"))
    found.extend(_difference(DifferenceKind.EXTRA_EVENT, event) for key, event in ours.items() if key not in theirs)
    return found or _order([*ours.values()], [*theirs.values()])


def _by_key(events: Iterable[EventRecord]) -> dict[EventKey, EventRecord]:
    return {event.key: event for event in events}


def _changed(mine: EventRecord, theirs: EventRecord) -> list[str]:
    return [name for name in _COMPARED if getattr(mine, name) != getattr(theirs, name)]


def _order(ours: Sequence[EventRecord], theirs: Sequence[EventRecord]) -> list[Difference]:
    """Where the same events stand in another order: the first that is out of place."""
    for mine, other in zip(ours, theirs, strict=True):
        if mine.key != other.key:
            return [_difference(DifferenceKind.WRONG_ORDER, mine, f"the chain has {other.txid} here")]
    return []


def _difference(kind: DifferenceKind, event: EventRecord, detail: str = "") -> Difference:
    return Difference(kind, event.stacks_height, event.index_hash, event.txid, event.event_index, detail)

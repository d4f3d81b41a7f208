"""What differs between a stored table and the chain, kind by kind."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.domain.event_record import EventRecord
from services.chain_gateway.domain.table_comparison import DifferenceKind, compare_blocks, compare_events

TIME: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def _event(number: int, **changes: Any) -> EventRecord:
    event = EventRecord("i", "b", 7, 3, TIME, f"{number:064x}", 0, 0, "ST1", 0, "oracle", "price-published", b"\x03")
    return dataclasses.replace(event, **changes)


EVENTS: Final = [_event(number) for number in range(5)]


def _kinds(stored: list[EventRecord], chain: list[EventRecord]) -> list[DifferenceKind]:
    return [one.kind for one in compare_events(stored, chain)]


@given(st.lists(st.integers(0, 9), unique=True))
def test_equal_tables_have_no_difference(numbers: list[int]) -> None:
    """The same events in the same order differ in nothing, whatever they are."""
    events = [_event(number) for number in numbers]
    assert compare_events(events, list(events)) == []


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_every_missing_and_extra_event_is_named(stored: set[int], chain: set[int]) -> None:
    """What one side alone holds is reported once, under the name of that side."""
    found = compare_events(map(_event, sorted(stored)), map(_event, sorted(chain)))
    named = {(one.kind, int(one.txid, 16)) for one in found}
    missing = {(DifferenceKind.MISSING_EVENT, number) for number in chain - stored}
    assert named == missing | {(DifferenceKind.EXTRA_EVENT, number) for number in stored - chain}
    assert len(found) == len(named)


def test_a_changed_field_is_named() -> None:
    """An event under the right name with another value is a difference that says which field."""
    stored = [dataclasses.replace(EVENTS[0], value=b"\x04", sender="ST2"), *EVENTS[1:]]
    [found] = compare_events(stored, EVENTS)
    assert (found.kind, found.detail) == (DifferenceKind.CHANGED_EVENT, "differs in sender, value")


def test_a_noted_fee_is_not_of_the_chain() -> None:
    """Whose fee was noted depends on the keys of the day, and is no difference."""
    assert _kinds([dataclasses.replace(EVENTS[0], backend_fee_ustx=9)], EVENTS[:1]) == []


def test_another_order_is_a_difference() -> None:
    """The same events in another order are told: consumers apply them in that order."""
    assert _kinds([EVENTS[1], EVENTS[0], *EVENTS[2:]], EVENTS) == [DifferenceKind.WRONG_ORDER]


def test_blocks_are_compared_by_height() -> None:
    """A block of another hash is both extra and missing; a gap is missing."""
    found = compare_blocks({1: "a", 2: "x"}, {1: "a", 2: "b", 3: "c"})
    assert [(one.kind, one.stacks_height, one.index_hash) for one in found] == [
        (DifferenceKind.EXTRA_BLOCK, 2, "x"),
        (DifferenceKind.MISSING_BLOCK, 2, "b"),
        (DifferenceKind.MISSING_BLOCK, 3, "c"),
    ]

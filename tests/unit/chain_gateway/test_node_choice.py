"""Who is asked first, and who dissents."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.domain.node_choice import (
    HealthBounds,
    Standing,
    best_height,
    dissenters,
    is_behind,
    order,
)
from services.chain_gateway.stacks.node_http import retry_after

BOUNDS = HealthBounds(lag_blocks=5, tip_age_seconds=60)
STANDINGS = st.builds(
    Standing,
    weight=st.integers(0, 5),
    stacks_height=st.none() | st.integers(0, 30),
    tip_age_seconds=st.none() | st.floats(0, 120),
    disagrees=st.booleans(),
)


@given(st.lists(STANDINGS, max_size=6), st.integers())
def test_everybody_is_asked_and_the_sound_first(standings: list[Standing], seed: int) -> None:
    """The order is a permutation; nobody behind or dissenting stands before somebody sound."""
    places = order(standings, BOUNDS, random.Random(seed).random)
    assert sorted(places) == list(range(len(standings)))
    best = best_height([one.stacks_height for one in standings if one.stacks_height is not None])
    unsound = [is_behind(standings[at], best, BOUNDS) or standings[at].disagrees for at in places]
    assert unsound == sorted(unsound)
    for sound in (True, False):
        standby = [standings[at].weight == 0 for at, bad in zip(places, unsound, strict=True) if bad != sound]
        assert standby == sorted(standby)


def test_weights_share_the_questions() -> None:
    """Of 10,000 draws, weights 3 and 1 come first in three to one within three standard deviations."""
    draw = random.Random(1).random
    first = Counter(order([Standing(3), Standing(1)], BOUNDS, draw)[0] for _ in range(10_000))
    assert abs(first[0] - 7_500) < 3 * 43.3


def test_lag_is_measured_from_a_height_that_two_nodes_claim() -> None:
    """Of three nodes one alone cannot make the others look behind by claiming a high tip."""
    assert best_height([100, 101, 10**9]) == 101
    assert best_height([100, 104]) == 104
    assert best_height([]) == 0


@pytest.mark.parametrize(("lag", "behind"), [(5, False), (6, True)])
def test_behind_is_more_than_the_bound(lag: int, behind: bool) -> None:
    """So many blocks may be lacking, and not one more; a tip that stands still counts as behind too."""
    assert is_behind(Standing(stacks_height=100 - lag), 100, BOUNDS) is behind
    assert is_behind(Standing(stacks_height=100, tip_age_seconds=60.5), 100, BOUNDS)
    assert not is_behind(Standing(), 100, BOUNDS)


def test_dissenters_are_the_few_or_all() -> None:
    """One of three is named; where nobody has a majority everybody is; one alone dissents from nobody."""
    assert dissenters({"a": 1, "b": 1, "c": 2}) == {"c"}
    assert dissenters({"a": 1, "b": 2}) == {"a", "b"}
    assert dissenters({"a": 1}) == dissenters({}) == frozenset()
    assert dissenters({"a": 1, "b": 1}) == frozenset()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        (None, 1),
        ("", 1),
        ("soon", 1),
        ("-5", 1),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float) -> None:
    """Seconds or a date; one second for none and for nonsense."""
    assert retry_after(header, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) == seconds

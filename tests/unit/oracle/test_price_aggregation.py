"""Aggregation: the price stays with the honest sources, each rejection has its name, jumps need agreement."""

from __future__ import annotations

import dataclasses
import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from services.oracle.domain.aggregation import (
    Aggregate,
    AggregationRules,
    Anchor,
    aggregate,
    allowed_jump_bps,
    exceeds_bps,
    median,
)
from services.oracle.domain.prices import Observation, PriceStatus, Rejection

AT = dt.datetime(2020, 3, 12, 12, tzinfo=dt.UTC)
RULES = AggregationRules()
USD = 100_000_000
PRICES = st.integers(1, 10**14)


def seen(*prices: int, age: float = 1) -> list[Observation]:
    """One observation of as many sources, `age` seconds old."""
    return [Observation(f"s{n}", price, AT - dt.timedelta(seconds=age)) for n, price in enumerate(prices)]


def made_of(*prices: int, anchor: Anchor | None = None) -> Aggregate:
    """The aggregate of fresh prices."""
    return aggregate(seen(*prices), AT, anchor, RULES)


@given(
    base=st.integers(10**4, 10**13),
    honest_offsets=st.lists(st.integers(-7_000, 7_000), min_size=2, max_size=6),
    lies=st.lists(st.integers(-(10**15), 10**15), max_size=5),
    data=st.data(),
)
def test_a_minority_of_liars_never_moves_the_price_out_of_the_honest_range(
    base: int, honest_offsets: list[int], lies: list[int], data: st.DataObject
) -> None:
    """While honest sources agree within the band, any fewer liars leave the price within what the honest say, and no
    honest source is rejected."""
    honest = [base + base * offset // 1_000_000 for offset in honest_offsets]
    lies = lies[: len(honest) - 1]
    order = data.draw(st.permutations(seen(*honest, *lies)))
    found = aggregate(order, AT, None, RULES)
    assert min(honest) <= found.price_usd_e8 <= max(honest)
    used = {one.observation.source for one in found.observations if one.used}
    assert {f"s{n}" for n in range(len(honest))} <= used


@given(honest=st.lists(PRICES, min_size=2, max_size=6), lies=st.lists(st.integers(-(10**15), 10**15), max_size=5))
def test_even_when_the_honest_disagree_the_price_stays_within_the_band(honest: list[int], lies: list[int]) -> None:
    """However far apart honest sources are, a minority of liars moves the price at most the band out of their range;
    if sources disagree entirely there is no price."""
    found = made_of(*honest, *lies[: len(honest) - 1])
    if found.status is PriceStatus.UNAVAILABLE:
        assert found.price_usd_e8 == 0
        return
    low, high = min(honest), max(honest)
    assert low * (10_000 - RULES.outlier_band_bps) // 10_000 <= found.price_usd_e8
    assert found.price_usd_e8 <= high * (10_000 + RULES.outlier_band_bps) // 10_000 + 1


@given(prices=st.lists(PRICES, min_size=1, max_size=9), data=st.data())
def test_the_order_of_sources_does_not_matter(prices: list[int], data: st.DataObject) -> None:
    """Any permutation of the observations gives the same price, status and confidence."""
    shuffled = data.draw(st.permutations(seen(*prices)))
    one, other = aggregate(seen(*prices), AT, None, RULES), aggregate(shuffled, AT, None, RULES)
    assert (one.status, one.price_usd_e8, one.confidence_usd_e8) == (
        other.status,
        other.price_usd_e8,
        other.confidence_usd_e8,
    )


@given(prices=st.lists(PRICES, min_size=1, max_size=9))
def test_price_and_confidence_follow_from_what_is_listed_as_used(prices: list[int]) -> None:
    """Whoever has the list can make the price again: the median of the used, and their largest distance from it."""
    found = made_of(*prices)
    used = [one.observation.price_usd_e8 for one in found.observations if one.used]
    assert len(found.observations) == len(prices)
    if used:
        assert found.price_usd_e8 == median(used)
        assert found.confidence_usd_e8 == max(abs(price - found.price_usd_e8) for price in used)


def test_each_rejection_has_its_name() -> None:
    """Not positive, from the future, stale, superseded by the same source, outlier; the times are of the used."""
    observations = [
        Observation("zero", 0, AT),
        Observation("future", 100 * USD, AT + dt.timedelta(seconds=1)),
        Observation("stale", 100 * USD, AT - dt.timedelta(seconds=61)),
        Observation("twice", 90 * USD, AT - dt.timedelta(seconds=30)),
        Observation("twice", 100 * USD, AT - dt.timedelta(seconds=10)),
        Observation("far", 103 * USD, AT),
        Observation("good", 100 * USD, AT - dt.timedelta(seconds=60)),
        Observation("better", 101 * USD, AT - dt.timedelta(seconds=5)),
    ]
    found = aggregate(observations, AT, None, RULES)
    assert [one.rejection for one in found.observations] == [
        Rejection.NOT_POSITIVE,
        Rejection.FUTURE,
        Rejection.STALE,
        Rejection.SUPERSEDED,
        None,
        Rejection.OUTLIER,
        None,
        None,
    ]
    assert (found.status, found.price_usd_e8, found.confidence_usd_e8) == (PriceStatus.OK, 100 * USD, USD)
    assert found.first_observe_time == AT - dt.timedelta(seconds=60)
    assert found.observe_time == AT - dt.timedelta(seconds=5)


def test_the_fault_of_a_reading_is_its_rejection_and_changes_nothing_else() -> None:
    """A source that was asked in vain is listed under its fault, has no voice, and does not silence its own good
    observation; the price, confidence and times are as if it had not been asked."""
    good = seen(100 * USD, 101 * USD, 102 * USD)
    faulty = [
        Observation("cut-off", 0, AT, fault=Rejection.UNREACHABLE),
        Observation("s0", 0, AT, fault=Rejection.NOT_A_NUMBER),
    ]
    without, found = aggregate(good, AT, None, RULES), aggregate([*good, *faulty], AT, None, RULES)
    rejections = [one.rejection for one in found.observations]
    assert rejections == [None, None, None, Rejection.UNREACHABLE, Rejection.NOT_A_NUMBER]
    assert dataclasses.replace(found, observations=without.observations) == without
    assert aggregate(faulty, AT, None, RULES).reason == "NO_USABLE_SOURCE: 1 NOT_A_NUMBER, 1 UNREACHABLE"


def test_too_few_sources_are_degraded_and_none_is_unavailable() -> None:
    """Two of three needed: shown, not trusted. None, or two that contradict each other: no price, and why."""
    assert made_of(100, 100).status is PriceStatus.DEGRADED
    assert made_of().reason == "NO_SOURCES: no source has a price"
    apart = made_of(100 * USD, 200 * USD)
    assert (apart.status, apart.reason) == (PriceStatus.UNAVAILABLE, "NO_USABLE_SOURCE: 2 OUTLIER")
    assert aggregate(seen(0, 5, 5, age=61), AT, None, RULES).reason == "NO_USABLE_SOURCE: 1 NOT_POSITIVE, 2 STALE"


def test_a_jump_waits_for_agreement_or_time() -> None:
    """3.5% within a minute: three sources are not believed, four are; an hour later three are."""
    fresh = Anchor(100 * USD, AT - dt.timedelta(seconds=59))
    jumped = [96 * USD + 50_000_000] * 5
    refused = made_of(*jumped[:3], anchor=fresh)
    assert (refused.status, refused.reason[:5]) == (PriceStatus.DEGRADED, "JUMP:")
    assert made_of(*jumped[:4], anchor=fresh).status is PriceStatus.OK
    assert made_of(*jumped[:3], anchor=Anchor(100 * USD, AT - dt.timedelta(minutes=1))).status is PriceStatus.OK
    assert made_of(97 * USD, 97 * USD, 97 * USD, anchor=fresh).status is PriceStatus.OK


def test_the_allowed_jump_widens_with_time() -> None:
    """300 bps at once, 50 more for each whole minute; a clock that steps back allows no less."""
    minutes = [allowed_jump_bps(dt.timedelta(seconds=s), RULES) for s in (-60, 0, 59, 60, 3600)]
    assert minutes == [300, 300, 300, 350, 3300]


def test_the_edge_of_a_band_is_inside() -> None:
    """Exactly the band is no outlier, one unit more is."""
    assert not exceeds_bps(10_150, 10_000, 150)
    assert exceeds_bps(10_151, 10_000, 150)
    assert exceeds_bps(9_849, 10_000, 150)

"""Aggregation by example: each rejection and each doubt has its name, and what was used makes the price again."""

from __future__ import annotations

import dataclasses
import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from services.oracle.domain.aggregation import Aggregate, AggregationRules, aggregate, exceeds_bps
from services.oracle.domain.prices import Observation, PriceStatus, Rejection
from services.oracle.domain.votes import VotingRules, weighted_median

AT = dt.datetime(2020, 3, 12, 12, tzinfo=dt.UTC)
RULES = AggregationRules()
USD = 100_000_000
PRICES = st.integers(1, 10**14)


def seen(*prices: int, age: float = 1) -> list[Observation]:
    """One observation of as many sources, `age` seconds old."""
    return [Observation(f"s{n}", price, AT - dt.timedelta(seconds=age)) for n, price in enumerate(prices)]


def made_of(*prices: int) -> Aggregate:
    """The aggregate of fresh prices."""
    return aggregate(seen(*prices), AT, RULES)


@given(prices=st.lists(PRICES, min_size=1, max_size=9))
def test_price_and_confidence_follow_from_the_list(prices: list[int]) -> None:
    """Whoever has the list can make the price again: the median by the votes in it, and the largest distance of the
    used from it."""
    found = made_of(*prices)
    assert len(found.observations) == len(prices)
    used = [one.observation.price_usd_e8 for one in found.observations if one.used]
    if used:
        votes = [one.vote_ppm for one in found.observations]
        assert found.price_usd_e8 == weighted_median(prices, votes)
        assert found.confidence_usd_e8 == max(abs(price - found.price_usd_e8) for price in used)


def test_each_rejection_has_its_name() -> None:
    """Not positive, from the future, stale, superseded by the same source, outlier, whose vote counts all
    the same; the times are of the used."""
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
    found = aggregate(observations, AT, RULES)
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
    assert (found.status, found.price_usd_e8 * 2, found.confidence_usd_e8 * 2) == (PriceStatus.OK, 201 * USD, USD)
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
    without, found = aggregate(good, AT, RULES), aggregate([*good, *faulty], AT, RULES)
    rejections = [one.rejection for one in found.observations]
    assert rejections == [None, None, None, Rejection.UNREACHABLE, Rejection.NOT_A_NUMBER]
    assert dataclasses.replace(found, observations=without.observations) == without
    assert aggregate(faulty, AT, RULES).reason == "NO_USABLE_SOURCE: 1 NOT_A_NUMBER, 1 UNREACHABLE"


def test_too_few_sources_are_degraded_and_none_is_unavailable() -> None:
    """Two of three needed: shown, not trusted. None, or two that contradict each other: no price, and why."""
    assert made_of(100, 100).status is PriceStatus.DEGRADED
    assert made_of().reason == "NO_SOURCES: no source has a price"
    apart = made_of(100 * USD, 200 * USD)
    assert (apart.status, apart.reason) == (PriceStatus.UNAVAILABLE, "NO_USABLE_SOURCE: 2 OUTLIER")
    assert aggregate(seen(0, 5, 5, age=61), AT, RULES).reason == "NO_USABLE_SOURCE: 1 NOT_POSITIVE, 2 STALE"


def test_a_source_may_have_an_age_limit_of_its_own() -> None:
    """What is too old for one source is not for another; to the second."""
    rules = AggregationRules(max_ages={"s1": 90, "s2": 30})
    ages = {30: [None, None, None], 31: [None, None, Rejection.STALE], 60: [None, None, Rejection.STALE]}
    ages |= {61: [Rejection.STALE, None, Rejection.STALE], 91: [Rejection.STALE] * 3}
    for age, expected in ages.items():
        found = aggregate(seen(100, 100, 100, age=age), AT, rules)
        assert [one.rejection for one in found.observations] == expected


def test_a_majority_of_votes_must_agree() -> None:
    """Three of seven sources agree and are enough in number, not in votes: shown, not trusted; four of seven are."""
    split = made_of(100 * USD, 100 * USD, 100 * USD, 96 * USD, 95 * USD, 105 * USD, 106 * USD)
    assert (split.status, split.price_usd_e8) == (PriceStatus.DEGRADED, 100 * USD)
    assert split.reason == "DISAGREEMENT: 42% of the votes agree, more than half needed"
    assert made_of(*[100 * USD] * 4, 90 * USD, 91 * USD, 92 * USD).status is PriceStatus.OK


def test_a_rate_that_breaks_moves_nothing() -> None:
    """Two of five quotes converted by a rate 8% off are outliers; three of four are no majority, and then nothing is
    trusted, as one source is left to say so."""

    def depegged(usd: int, converted: int) -> Aggregate:
        sound = [Observation(f"usd{n}", 100 * USD, AT) for n in range(usd)]
        broken = [Observation(f"usdt{n}", 92 * USD, AT, converted_by="USDT/USD") for n in range(converted)]
        return aggregate([*sound, *broken], AT, RULES)

    two, three, most = depegged(3, 2), depegged(2, 3), depegged(1, 3)
    assert (two.status, two.price_usd_e8, two.used) == (PriceStatus.OK, 100 * USD, 3)
    assert (three.status, three.price_usd_e8) == (PriceStatus.DEGRADED, 100 * USD)
    assert three.reason.startswith("TOO_FEW_SOURCES")
    assert (most.status, most.reason[:13]) == (PriceStatus.DEGRADED, "CONCENTRATED:")


def test_weights_count_up_to_the_cap() -> None:
    """A source of weight 9 among weights of 1 has 34% of the votes, not 69%: with another it has the majority, alone
    it has not."""
    rules = AggregationRules(voting=VotingRules({"s0": 9}))
    heavy = aggregate(seen(110 * USD, 110 * USD, 100 * USD, 100 * USD, 100 * USD), AT, rules)
    assert [one.vote_ppm for one in heavy.observations] == [340_000] + [165_000] * 4
    assert heavy.price_usd_e8 == 110 * USD
    alone = aggregate(seen(110 * USD, 100 * USD, 100 * USD, 100 * USD, 100 * USD), AT, rules)
    assert (alone.status, alone.price_usd_e8) == (PriceStatus.OK, 100 * USD)


def test_the_edge_of_a_band_is_inside() -> None:
    """Exactly the band is no outlier, one unit more is."""
    assert not exceeds_bps(10_150, 10_000, 150)
    assert exceeds_bps(10_151, 10_000, 150)
    assert exceeds_bps(9_849, 10_000, 150)

"""Random sets of honest, stale, faulty and malicious sources: the price stays with an honest majority."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import event, given, settings
from hypothesis import strategies as st

from kernel.units import BPS
from services.oracle.domain.aggregation import Aggregate, AggregationRules, aggregate, exceeds_bps
from services.oracle.domain.prices import Observation, PriceStatus, Rejection
from services.oracle.domain.votes import Voter, VotingRules, votes_ppm, weighted_median

AT = dt.datetime(2020, 3, 12, 12, tzinfo=dt.UTC)
RULES = AggregationRules()
FAULTS = (Rejection.UNREACHABLE, Rejection.TIMED_OUT, Rejection.NOT_A_NUMBER, Rejection.CROSSED_BOOK)
RATES = ("", "", "USDT/USD", "USDC/USD")


@dataclass(frozen=True)
class World:
    """What is seen at one time, by which rules, and which sources are honest."""

    observations: Sequence[Observation]
    honest: frozenset[str]
    rules: AggregationRules

    def found(self) -> Aggregate:
        """The aggregate."""
        return aggregate(self.observations, AT, self.rules)

    def honest_prices(self, found: Aggregate) -> Sequence[int]:
        """What honest sources say that have a voice."""
        return [one.observation.price_usd_e8 for one in found.observations if self._is_voice_of_honest(one)]

    def has_honest_majority(self, found: Aggregate) -> bool:
        """By the rules: more than half of the votes are honest ones."""
        honest = sum(one.vote_ppm for one in found.observations if self._is_voice_of_honest(one))
        return 2 * honest > sum(one.vote_ppm for one in found.observations)

    def _is_voice_of_honest(self, one: object) -> bool:
        return one.vote_ppm > 0 and one.observation.source in self.honest  # type: ignore[attr-defined]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to six honest sources around one price, up to six others that may collude, in any order."""
    base = draw(st.integers(10**6, 10**13))
    spread_bps = draw(st.sampled_from([0, 20, 70, 400]))
    honest = [f"h{n}" for n in range(draw(st.integers(0, 6)))]
    others = [f"m{n}" for n in range(draw(st.integers(0, 6)))]
    meeting_point = base * draw(st.integers(-6_000, 6_000)) // BPS + base
    seen = [_honest(draw, name, base, spread_bps) for name in honest]
    for name in others:
        seen += draw(st.lists(_malicious(name, base, meeting_point), min_size=1, max_size=3))
    weights = {name: draw(st.integers(1, 5)) for name in [*honest, *others] if draw(st.booleans())}
    return World(draw(st.permutations(seen)), frozenset(honest), AggregationRules(voting=VotingRules(weights)))


def _honest(draw: st.DrawFn, name: str, base: int, spread_bps: int) -> Observation:
    price = base + base * draw(st.integers(-spread_bps, spread_bps)) // BPS
    age = draw(st.sampled_from([0, 5, 60, 61, 4_000]))
    return Observation(name, price, AT - dt.timedelta(seconds=age), converted_by=draw(st.sampled_from(RATES)))


def _malicious(name: str, base: int, meeting_point: int) -> st.SearchStrategy[Observation]:
    """Any price at any time, also the one that others agreed on, also just inside the band, also none at all."""
    prices = st.one_of(
        st.just(meeting_point),
        st.integers(-150, 150).map(lambda bps: base + base * bps // BPS),
        st.integers(-(10**15), 10**15),
    )
    times = st.integers(-10, 70).map(lambda age: AT - dt.timedelta(seconds=age))
    faults = st.one_of(st.none(), st.none(), st.sampled_from(FAULTS))
    return st.builds(
        lambda price, time, fault, rate: Observation(name, 0 if fault else price, time, False, fault, rate),
        prices,
        times,
        faults,
        st.sampled_from(RATES),
    )


@settings(max_examples=150)
@given(worlds())
def test_an_honest_majority_keeps_the_price_in_its_range(world: World) -> None:
    """Whatever its status, a price lies within what honest sources say while they have more than half of the votes:
    not a unit beyond, wherever the others are."""
    found = world.found()
    if not world.has_honest_majority(found):
        return
    event(f"honest majority, {found.status}")
    honest = world.honest_prices(found)
    assert found.status is PriceStatus.UNAVAILABLE or min(honest) <= found.price_usd_e8 <= max(honest)


@settings(max_examples=150)
@given(worlds())
def test_an_honest_majority_that_agrees_is_believed(world: World) -> None:
    """Honest sources that have the majority, are enough, and are no further apart than the band make an OK price:
    nobody else can prevent it."""
    found = world.found()
    honest = world.honest_prices(found)
    if not world.has_honest_majority(found) or len(honest) < RULES.minimum_sources:
        return
    if exceeds_bps(max(honest), min(honest), RULES.outlier_band_bps * 98 // 100) or "CONCENTRATED" in found.reason:
        return
    assert found.status is PriceStatus.OK


@settings(max_examples=150)
@given(worlds())
def test_what_is_ok_has_enough_sources_and_most_votes(world: World) -> None:
    """OK means: enough distinct sources within the band, with more than half of the votes, none of them above its
    cap. Where honest sources have no majority, nothing less than that many liars in agreement is believed."""
    found = world.found()
    used = [one for one in found.observations if one.used]
    if found.status is not PriceStatus.OK:
        assert found.reason
        return
    assert len({one.observation.source for one in used}) == len(used) >= RULES.minimum_sources
    assert 2 * sum(one.vote_ppm for one in used) > sum(one.vote_ppm for one in found.observations)
    assert not any(exceeds_bps(one.observation.price_usd_e8, found.price_usd_e8, 150) for one in used)
    assert all(one.vote_ppm <= 340_000 for one in found.observations)
    if not world.has_honest_majority(found):
        liars = [one for one in used if one.observation.source not in world.honest]
        assert len(liars) + len(world.honest) >= RULES.minimum_sources
        assert liars


@given(worlds(), st.data())
def test_order_does_not_matter(world: World, data: st.DataObject) -> None:
    """Any permutation gives the same price, confidence, times, status and reason, and the same judgement of each."""
    one = world.found()
    other = aggregate(data.draw(st.permutations(world.observations)), AT, world.rules)
    assert (one.status, one.reason, one.price_usd_e8, one.confidence_usd_e8, one.observe_time) == (
        other.status,
        other.reason,
        other.price_usd_e8,
        other.confidence_usd_e8,
        other.observe_time,
    )
    assert sorted(map(str, one.observations)) == sorted(map(str, other.observations))


@given(
    prices=st.lists(st.integers(1, 10**14), min_size=1, max_size=8),
    votes=st.lists(st.integers(1, 10**6), min_size=8, max_size=8),
    which=st.integers(0, 7),
    rise=st.integers(0, 10**14),
)
def test_a_source_that_rises_never_lowers_the_price(prices: list[int], votes: list[int], which: int, rise: int) -> None:
    """The median is monotonic in every source, and moves by no more than the source did."""
    votes = votes[: len(prices)]
    before = weighted_median(prices, votes)
    prices[which % len(prices)] += rise
    assert before <= weighted_median(prices, votes) <= before + rise


@given(st.lists(st.tuples(st.integers(1, 10**14), st.integers(1, 50)), min_size=1, max_size=8))
def test_the_median_is_that_of_as_many_voters_as_votes(ballots: list[tuple[int, int]]) -> None:
    """A vote of n counts like n voters of one: the middle one, or the mean of the two middle ones rounded down."""
    everyone = sorted(price for price, vote in ballots for _ in range(vote))
    low, high = everyone[(len(everyone) - 1) // 2], everyone[len(everyone) // 2]
    assert weighted_median([price for price, _ in ballots], [vote for _, vote in ballots]) == (low + high) // 2


@settings(max_examples=150)
@given(
    weights=st.lists(st.tuples(st.integers(1, 1_000), st.sampled_from(RATES)), min_size=1, max_size=9),
    share=st.integers(1_000, 10_000),
    group_share=st.integers(1_000, 4_999),
)
def test_no_source_and_no_rate_is_above_its_cap(weights: list[tuple[int, str]], share: int, group_share: int) -> None:
    """Votes keep both caps and the order of weights, sum to the whole but for rounding down, and are refused only
    where no votes could keep the caps."""
    voters = [Voter(f"s{n}", rate) for n, (_, rate) in enumerate(weights)]
    rules = VotingRules({f"s{n}": weight for n, (weight, _) in enumerate(weights)}, share, group_share)
    votes = votes_ppm(voters, rules)
    rates = {rate for _, rate in weights if rate}
    groups = {rate: [n for n, (_, own) in enumerate(weights) if own == rate] for rate in rates}
    alone = sum(1 for _, rate in weights if not rate)
    most = Fraction(alone * share, BPS)
    most += sum(min(Fraction(group_share, BPS), Fraction(len(one) * share, BPS)) for one in groups.values())
    if votes is None:
        assert most <= 1
        return
    assert most >= 1
    assert 1_000_000 - len(voters) <= sum(votes) <= 1_000_000
    assert all(vote * BPS <= share * 1_000_000 for vote in votes)
    assert all(sum(votes[n] for n in one) * BPS <= group_share * 1_000_000 for one in groups.values())
    for one in [*groups.values(), [n for n, (_, rate) in enumerate(weights) if not rate]]:
        by_weight = sorted(one, key=lambda n: weights[n][0])
        assert all(votes[a] <= votes[b] for a, b in itertools.pairwise(by_weight))

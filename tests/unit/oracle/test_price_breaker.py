"""The breaker: small moves pass, jumps take more sources and more time, two operators may say so at once."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.oracle.domain.aggregation import Aggregate, AggregationRules, aggregate, exceeds_bps
from services.oracle.domain.breaker import Anchor, BelievedRange, BreakerRules, BreakerState, judged_jump
from services.oracle.domain.prices import Observation, PriceStatus

NOON = dt.datetime(2020, 3, 12, 12, tzinfo=dt.UTC)
RULES = BreakerRules()
USD = 100_000_000
MINUTE = dt.timedelta(minutes=1)


def seen(price: int, sources: int, at: dt.datetime) -> Aggregate:
    """What as many sources make that all say one price."""
    return aggregate([Observation(f"s{n}", price, at) for n in range(sources)], at, AggregationRules())


def judge(
    rounds: Sequence[tuple[int, int]],
    overrides: Sequence[BelievedRange] = (),
    state: BreakerState = BreakerState(Anchor(100 * USD, NOON)),  # noqa: B008 (a frozen value)
    step: dt.timedelta = MINUTE,
) -> tuple[list[Aggregate], BreakerState]:
    """Rounds of price and number of sources, one after the other, the first a step after noon."""
    found = []
    for number, (price, sources) in enumerate(rounds, 1):
        at = NOON + number * step
        one, state = judged_jump(seen(price, sources, at), at, state, overrides, RULES)
        found.append(one)
    return found, state


def marks(found: Sequence[Aggregate]) -> str:
    """One letter for each round: o for OK, j for OK after a jump, - for not OK."""
    return "".join("-" if one.status is not PriceStatus.OK else "j" if one.reason else "o" for one in found)


def test_the_bound_widens_with_time_up_to_a_limit() -> None:
    """300 bps at once, 50 more for each whole minute, 2,000 at the most; a clock that steps back allows no less."""
    seconds = (-60, 0, 59, 60, 600, 2_039, 2_040, 10**6)
    allowed = [RULES.allowed_bps(dt.timedelta(seconds=s)) for s in seconds]
    assert allowed == [300, 300, 300, 350, 800, 1_950, 2_000, 2_000]


def test_the_first_price_and_small_moves_pass() -> None:
    """Nothing to compare with, or no further than the bound: OK with three sources and no word about a jump; exactly
    the bound passes, one unit more does not."""
    assert marks(judge([(100 * USD, 3)], state=BreakerState())[0]) == "o"
    assert marks(judge([(96 * USD + USD // 2, 3)])[0]) == "o"
    assert marks(judge([(96 * USD + USD // 2 - 1, 3)])[0]) == "-"
    assert marks(judge([(103 * USD, 3), (100 * USD, 3), (102 * USD, 3)])[0]) == "ooo"


def test_a_jump_takes_more_sources_and_more_time() -> None:
    """Of four sources the third round is believed, two minutes after the first; of three sources none ever is."""
    jumped, state = judge([(70 * USD, 4)] * 4)
    assert marks(jumped) == "--jo"
    assert jumped[0].reason == (
        "JUMP: 3000 bps off the anchor, 350 allowed; 4 of 4 sources agree, for 1 of 3 rounds and 0 of 120 s"
    )
    assert jumped[2].reason.startswith("JUMP_BELIEVED: 3000 bps off the anchor, 450 allowed; 4 of 4")
    assert state == BreakerState(Anchor(70 * USD, NOON + 4 * MINUTE))
    few, state = judge([(70 * USD, 3)] * 200)
    assert set(marks(few)) == {"-"}
    assert state == BreakerState(Anchor(100 * USD, NOON), None, True)


def test_time_counts_as_well_as_rounds() -> None:
    """With a round each second, three are not enough: the first is believed that is 120 s after the first jump."""
    found, _ = judge([(70 * USD, 5)] * 121, step=dt.timedelta(seconds=1))
    assert marks(found) == "-" * 120 + "j"


def test_a_round_that_falls_out_starts_anew() -> None:
    """Too few sources, disagreement or another level in between: what was seen before does not count."""
    assert marks(judge([(70 * USD, 4), (70 * USD, 4), (70 * USD, 3), (70 * USD, 4), (70 * USD, 4)])[0]) == "-----"
    assert marks(judge([(70 * USD, 4), (70 * USD, 4), (70 * USD, 2), (70 * USD, 4), (70 * USD, 4)])[0]) == "-----"
    assert marks(judge([(70 * USD, 4), (60 * USD, 4), (70 * USD, 4), (70 * USD, 4), (70 * USD, 4)])[0]) == "----j"
    assert marks(judge([(70 * USD, 4), (100 * USD, 4), (70 * USD, 4), (70 * USD, 4), (70 * USD, 4)])[0]) == "-o--j"


def test_a_gap_is_no_time_in_which_it_was_seen() -> None:
    """Rounds further apart than a level has to last do not continue each other."""
    _, state = judge([(70 * USD, 4)] * 2)
    later = NOON + 2 * MINUTE + dt.timedelta(seconds=121)
    found, state = judged_jump(seen(70 * USD, 4, later), later, state, (), RULES)
    assert found.status is PriceStatus.DEGRADED
    assert state.level is not None
    assert state.level.rounds == 1


def test_a_fall_that_goes_on_is_believed_while_it_goes_on() -> None:
    """Ten percent at once, then two each minute: the third round is believed; what follows is believed for as long as
    it stays in the bound, and again after two minutes when it leaves it."""
    prices = [90, 88, 86, 84, 82, 80, 78, 77, 76]
    assert marks(judge([(price * USD, 5) for price in prices])[0]) == "--jo--joo"


def test_a_price_is_not_walked_away() -> None:
    """Half a percent each second, each step far inside the bound, by three sources: after six seconds it is a jump,
    and stays one for as long as it is beyond the bound."""
    walked = [100 * USD * (1_000 - 5 * n) // 1_000 for n in range(1, 101)]
    found, state = judge([(price, 3) for price in walked], step=dt.timedelta(seconds=1))
    assert marks(found) == "o" * 6 + "-" * 94
    assert state.anchor is not None
    assert 99 * USD < state.anchor.price_usd_e8 < 100 * USD


def test_operators_believe_a_range_not_a_price() -> None:
    """In the range a jump passes at once, by the normal number of sources; outside it, before the approval, after the
    end, and without enough sources it does not."""
    believed = BelievedRange("priceOverrides/a", 68 * USD, 72 * USD, NOON + MINUTE, NOON + 3 * MINUTE)
    found, _ = judge([(70 * USD, 3)] * 3, [believed])
    assert marks(found) == "-jo"
    assert found[1].reason.startswith("JUMP_OVERRIDDEN: 3000 bps off the anchor, 400 allowed; by priceOverr")
    assert marks(judge([(100 * USD, 3), (73 * USD, 3), (70 * USD, 2), (70 * USD, 3)], [believed])[0]) == "o---"
    assert marks(judge([(100 * USD, 3), (100 * USD, 3), (72 * USD, 3)], [believed])[0]) == "ooj"


@given(
    rounds=st.lists(
        st.tuples(st.sampled_from([50, 69, 70, 71, 95, 98, 100, 101, 104, 140]), st.integers(0, 6)),
        min_size=1,
        max_size=30,
    )
)
def test_no_jump_is_believed_with_less(rounds: Sequence[tuple[int, int]]) -> None:
    """Whatever comes in which order: a jump is OK only at the end of three rounds of four sources each, none of them a
    jump from the one before; what is not OK stays so; a price is never an older one."""
    found, _ = judge([(price * USD, sources) for price, sources in rounds])
    for number, one in enumerate(found, 1):
        plain = seen(rounds[number - 1][0] * USD, rounds[number - 1][1], NOON + number * MINUTE)
        assert one.price_usd_e8 == plain.price_usd_e8
        assert plain.status is PriceStatus.OK or one.status is plain.status
        if one.reason.startswith("JUMP_BELIEVED"):
            last = found[number - 3 : number]
            assert len(last) == 3
            assert all(earlier.used >= 4 for earlier in last)
            moves = itertools.pairwise(last)
            assert not any(exceeds_bps(later.price_usd_e8, earlier.price_usd_e8, 350) for earlier, later in moves)


@given(
    moves=st.lists(st.tuples(st.integers(-400, 400), st.integers(1, 90)), min_size=1, max_size=40),
)
def test_without_a_believed_jump_the_price_keeps_to_an_envelope(moves: Sequence[tuple[int, int]]) -> None:
    """However three sources move it, in steps of any size and length: between any two OK prices lie no more than half a
    percent for each minute that passed, and 3% to either side."""
    state, price, at = BreakerState(Anchor(100 * USD, NOON)), 100 * USD, NOON
    believed = [(price, at)]
    for bps, seconds in moves:
        price, at = price + price * bps // 10_000, at + dt.timedelta(seconds=seconds)
        found, state = judged_jump(seen(price, 3, at), at, state, (), RULES)
        if found.status is PriceStatus.OK:
            believed.append((price, at))
    for (first, then), (second, later) in itertools.combinations(believed, 2):
        # Steps take up to 90 s: half a percent more to either side, and in time a step at either end.
        minutes = int((later - then).total_seconds()) // 60 + 4
        assert max(first, second) <= min(first, second) * Fraction(1_035, 965) * Fraction(1_000, 995) ** minutes

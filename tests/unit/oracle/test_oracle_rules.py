"""Publication, freshness, schedule, averages and history: the rules without a database."""

from __future__ import annotations

import dataclasses
import datetime as dt
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Unavailable
from services.oracle.domain import volatility
from services.oracle.domain.freshness import FreshnessRules, judged_at
from services.oracle.domain.history import DailyBar, estimate_volatility
from services.oracle.domain.prices import Feed, Price, PriceStatus, boundary_time
from services.oracle.domain.publication import PublicationCause, PublicationRules, nearest, publication_cause
from services.oracle.domain.schedule import MOST_ROUNDS, due_rounds
from services.oracle.domain.twap import expiry_average

USD = 100_000_000
NOON = 1_584_014_400
NOW = boundary_time(NOON)
RULES = PublicationRules()


def price(
    number: int, usd_e8: int = 8_000 * USD, status: PriceStatus = PriceStatus.OK, burn_height: int = 1000
) -> Price:
    """A round observed two seconds before its boundary."""
    time = boundary_time(number - 2)
    return Price(Feed.BTC_USD, number, status, "", usd_e8, 0, time, time, burn_height, False)


def test_what_publishes() -> None:
    """The first round; half a percent either way; ten minutes; nothing less."""
    last = price(NOON)
    cases = {
        price(NOON + 60, 8_040 * USD): PublicationCause.DEVIATION,
        price(NOON + 60, 7_960 * USD): PublicationCause.DEVIATION,
        price(NOON + 60, 8_040 * USD - 1): None,
        price(NOON + 540): None,
        price(NOON + 600): PublicationCause.HEARTBEAT,
        price(NOON + 600, status=PriceStatus.DEGRADED): None,
        price(NOON + 600, burn_height=999): None,
        price(NOON - 600, 9_000 * USD): None,
    }
    assert {newest: publication_cause(newest, last, boundary_time(newest.round), RULES) for newest in cases} == cases
    assert publication_cause(last, None, NOW, RULES) is PublicationCause.FIRST
    assert publication_cause(price(NOON, status=PriceStatus.DEGRADED), None, NOW, RULES) is None


def test_a_round_with_no_later_observation_is_not_published() -> None:
    """The contract would not take it as latest: whole signed seconds must grow."""
    last = price(NOON)
    repeated = dataclasses.replace(price(NOON + 60, 9_000 * USD), observe_time=boundary_time(NOON - 2))
    assert publication_cause(repeated, last, NOW, RULES) is None
    fraction = dataclasses.replace(repeated, observe_time=boundary_time(NOON - 2) + dt.timedelta(milliseconds=900))
    assert publication_cause(fraction, last, NOW, RULES) is None


def test_an_old_round_is_not_published_as_the_latest() -> None:
    """Its newest observation may be 300 s old, to the second: what a replica decides long after the last aggregation
    waits for the next one."""
    one = price(NOON)
    ages = [publication_cause(one, None, boundary_time(NOON - 2 + age), RULES) for age in (0, 300, 301, 86_400)]
    assert ages == [PublicationCause.FIRST, PublicationCause.FIRST, None, None]


def test_the_nearest_round_by_height_then_the_newest() -> None:
    """For any price: within two blocks; nearer wins; of equals the newest."""
    rounds = [price(NOON + 60 * n, burn_height=1000 + n // 2) for n in range(8)]
    found = [nearest(rounds, height, 0, RULES) for height in (997, 998, 1001, 1005, 1006)]
    assert [one and one.round for one in found] == [None, NOON + 60, NOON + 180, NOON + 420, None]


def test_a_round_beside_a_receipt_agrees_with_its_price() -> None:
    """The nearest in price wins, also over one of its own height; beyond 3% of the round none fits."""
    rounds = [price(NOON + 60 * n, usd * USD, burn_height=1000 + n) for n, usd in enumerate((8_000, 7_900, 7_600))]
    found = [nearest(rounds, 1000, usd * USD, RULES) for usd in (8_000, 7_700, 7_830, 8_240, 8_241)]
    assert [one and one.round - NOON for one in found] == [0, 120, 60, 0, None]


def test_an_old_price_is_degraded_then_gone() -> None:
    """To the second: OK at 300 s, DEGRADED at 301 s, UNAVAILABLE without a figure at 3,601 s."""
    one, observed, rules = price(NOON), boundary_time(NOON - 2), FreshnessRules()
    ages = [judged_at(one, observed + dt.timedelta(seconds=age), rules) for age in (300, 301, 3600, 3601)]
    assert [shown.status for shown in ages] == ["OK", "DEGRADED", "DEGRADED", "UNAVAILABLE"]
    assert [shown.price_usd_e8 for shown in ages] == [one.price_usd_e8] * 3 + [0]


def test_a_jump_that_was_believed_is_no_doubt() -> None:
    """An OK price keeps the reason that says who believed its jump, and is OK for as long as any other; then only its
    age is a doubt. A price that was doubted keeps its doubt beside its age."""
    observed, rules = boundary_time(NOON - 2), FreshnessRules()
    believed = dataclasses.replace(price(NOON), reason="JUMP_BELIEVED: by all")
    doubted = dataclasses.replace(believed, status=PriceStatus.DEGRADED, reason="JUMP: by nobody")
    ages = [observed + dt.timedelta(seconds=age) for age in (300, 301)]
    assert judged_at(believed, ages[0], rules) == believed
    assert judged_at(believed, ages[1], rules).reason == "OLD: the last price is 301 s old"
    assert judged_at(doubted, ages[1], rules).reason == "OLD: the last price is 301 s old; JUMP: by nobody"


def test_without_market_time_no_price_is_trusted() -> None:
    """31 s after the clock was last heard a price that looks fresh is DEGRADED, and says why."""
    one, now = price(NOON), boundary_time(NOON)
    shown = [judged_at(one, now, FreshnessRules(), lost) for lost in (30.0, 31.0)]
    assert [each.status for each in shown] == ["OK", "DEGRADED"]
    assert shown[1].reason == "CLOCK_LOST: no news of market time for 31 s"


@given(age=st.integers(-10, 10_000), status=st.sampled_from(PriceStatus))
def test_age_never_improves_a_status(age: int, status: PriceStatus) -> None:
    """Reading a price can only take trust away."""
    order = [PriceStatus.OK, PriceStatus.DEGRADED, PriceStatus.UNAVAILABLE]
    shown = judged_at(price(NOON, status=status), boundary_time(NOON + age), FreshnessRules())
    assert order.index(shown.status) >= order.index(status)


@given(
    last=st.none() | st.integers(0, 10**6),
    now=st.integers(0, 10**6),
    interval=st.sampled_from([1, 7, 60, 600]),
    bound=st.integers(0, 20_000),
)
def test_due_rounds_are_every_missed_boundary_within_the_bound(
    last: int | None, now: int, interval: int, bound: int
) -> None:
    """Ascending boundaries after the last round, none in the future, none older than the bound; none missing."""
    due = list(due_rounds(last, boundary_time(now), interval, bound))
    newest = now // interval * interval
    after = newest - 1 if last is None else last
    most = min(bound // interval, MOST_ROUNDS)
    expected = [n for n in range(0, now + 1, interval) if n > after and n >= newest - most * interval]
    assert due == expected


@given(prices=st.lists(st.integers(1, 10**13), min_size=30, max_size=30))
def test_a_full_half_hour_averages_to_the_mean_rounded_up(prices: list[int]) -> None:
    """Thirty OK rounds weigh a minute each; older ones do not count."""
    rounds = [price(NOON + 60 * (n + 1), value) for n, value in enumerate(prices)]
    older = [price(NOON - 60 * n, 1) for n in range(60)]
    found = expiry_average([*older, *rounds], NOON + 1800, 60)
    assert found is not None
    assert found.price_usd_e8 == ceil(Fraction(sum(prices), 30))
    assert (found.window_seconds, found.covered_seconds) == (1800, 1800)


def test_an_unaligned_end_weighs_the_parts() -> None:
    """When the end is no boundary the first round counts only its last 20 s, the one after the end its first 40 s."""
    rounds = [price(NOON + 60 * n, 1_000 if n == 0 else 4_000 if n == 30 else 2_000) for n in range(-5, 32)]
    found = expiry_average(rounds, NOON + 1780, 60)
    assert found is not None
    assert found.rounds[0].round == NOON
    # (NOON - 20, NOON] at 1,000, then 29 minutes at 2,000, then 40 s at 4,000.
    assert found.price_usd_e8 == ceil(Fraction(20 * 1_000 + 1_740 * 2_000 + 40 * 4_000, 1_800))


def test_half_covered_is_enough_and_less_widens() -> None:
    """15 of 30 minutes are enough; 14 widen to an hour; nothing near enough in two hours is for a person."""
    rounds = [price(NOON + 60 * n) for n in range(-89, 31)]

    def average(first_missing: int) -> int | None:
        known = [one for one in rounds if one.round <= NOON + 60 * first_missing]
        found = expiry_average(known, NOON + 1800, 60)
        return None if found is None else found.window_seconds

    assert [average(n) for n in (15, 14, 0, -1, -15, -30, -31)] == [1800, 3600, 3600, 5400, 5400, 7200, None]
    degraded = [dataclasses.replace(one, status=PriceStatus.DEGRADED) for one in rounds]
    assert expiry_average(degraded, NOON + 1800, 60) is None
    assert expiry_average([], NOON + 1800, 60) is None


def history(days: int) -> list[DailyBar]:
    """Days up to 2020-03-11 with a wiggle that grows."""
    first = dt.date(2020, 3, 12) - dt.timedelta(days=days)
    closes = [10_000 + (n % 3) * n for n in range(days)]
    return [
        DailyBar(first + dt.timedelta(days=n), close, close + n + 1, close - n - 1, close)
        for n, close in enumerate(closes)
    ]


def test_volatility_is_that_of_what_was_known() -> None:
    """Bars of the market day and later change nothing; the windows are named."""
    noon = boundary_time(NOON)
    known = history(120)
    future = [DailyBar(dt.date(2020, 3, 12) + dt.timedelta(days=n), 1, 99_999, 1, 99_999) for n in range(5)]
    found = estimate_volatility([*known, *future], noon)
    closes = [float(bar.close_usd_e8) for bar in known]
    assert found == estimate_volatility(known, noon)
    assert found.close_to_close_30d == volatility.close_to_close(closes, 30)
    assert found.close_to_close_90d == volatility.close_to_close(closes, 90)
    assert found.as_of == dt.datetime(2020, 3, 12, tzinfo=dt.UTC)
    assert found.source.startswith("close-to-close over 30 and 90 days")


def test_a_history_too_short_or_too_old_gives_no_volatility() -> None:
    """Ten days are too few, eleven are not; four days of silence are borne, five are not."""
    noon = boundary_time(NOON)
    with pytest.raises(Unavailable, match="10 complete days"):
        estimate_volatility(history(10), noon)
    assert estimate_volatility(history(11), noon).ewma > 0
    assert estimate_volatility(history(40), noon + dt.timedelta(days=3)).ewma > 0
    with pytest.raises(Unavailable, match="market time"):
        estimate_volatility(history(40), noon + dt.timedelta(days=4))

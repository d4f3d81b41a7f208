"""Quotes of exchanges: the exact middle, each fault by name, times of every spelling; what was read lasts its time."""

from __future__ import annotations

import contextlib
import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.units import INT64_MAX
from services.oracle.domain.prices import Rejection
from services.oracle.feeds.live.backoff import Backoff
from services.oracle.feeds.live.follower import reading_of
from services.oracle.feeds.live.history import KEPT, Reading, ReadingHistory
from services.oracle.feeds.live.quote import Quote, ReadingFault, middle_e8, time_of_text, time_of_units

AT = dt.datetime(2020, 3, 12, 6, tzinfo=dt.UTC)
PRICES = st.decimals("0.00000001", "9999999999", allow_nan=False, allow_infinity=False, places=None)


def nested(depth: int) -> object:
    """A list in a list, so deep that its text cannot be made."""
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=80),
    st.from_regex(r"[+-]?\d{0,70}\.?\d{0,70}([eE][+-]?\d{1,4})?", fullmatch=True),
    st.sampled_from([10**9, 10**5_000, -(10**5_000), "\ud800", "9" * 5_000, nested(100_000)]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


def spelled(price: Decimal, scientific: bool) -> str:
    """A price as an exchange might write it."""
    return f"{price:E}" if scientific else f"{price:f}"


@given(first=PRICES, second=PRICES, scientific=st.booleans())
@example(
    first=Decimal("1E-8"),
    second=Decimal("8.86467750630120086565942864130274172928006944570729455E-8"),
    scientific=False,
)
@example(
    first=Decimal("1E-8"), second=Decimal("8.86467750630120086565942864130274172928006944570729455E-8"), scientific=True
)
def test_the_middle_is_exact(first: Decimal, second: Decimal, scientific: bool) -> None:
    """For any bid and ask of up to 60 digits behind the point, however they are spelled, the price is their middle in
    rational numbers, rounded down once to 1e-8; with more digits a side is no number."""
    bid, ask = sorted((first, second))
    if any(len(spelled(side, scientific).partition(".")[2].partition("E")[0]) > 60 for side in (bid, ask)):
        with pytest.raises(ReadingFault, match=Rejection.NOT_A_NUMBER):
            middle_e8(Quote(spelled(bid, scientific), spelled(ask, scientific), None))
        return
    exact = (Fraction(bid) + Fraction(ask)) / 2 * 10**8
    expected = exact.numerator // exact.denominator
    quote = Quote(spelled(bid, scientific), spelled(ask, scientific), None)
    assert middle_e8(quote) == expected


@pytest.mark.parametrize(
    ("bid", "ask", "rejection"),
    [
        ("NaN", "NaN", Rejection.NOT_A_NUMBER),
        ("1.0", "Infinity", Rejection.NOT_A_NUMBER),
        (float("nan"), float("nan"), Rejection.NOT_A_NUMBER),
        (7.5, 7.5, Rejection.NOT_A_NUMBER),
        ("about ten", "10", Rejection.NOT_A_NUMBER),
        ("1_000", "1_001", Rejection.NOT_A_NUMBER),
        ("١٠", "11", Rejection.NOT_A_NUMBER),
        (" 1", "2", Rejection.NOT_A_NUMBER),
        (True, "2", Rejection.NOT_A_NUMBER),
        (["1"], "2", Rejection.NOT_A_NUMBER),
        ("1e99999", "1e99999", Rejection.NOT_A_NUMBER),
        ("1e10", "1e10", Rejection.OUT_OF_RANGE),
        ("1" * 41, "1", Rejection.OUT_OF_RANGE),
        ("1e-40", "1", Rejection.OUT_OF_RANGE),
        ("-1", "-1", Rejection.NOT_POSITIVE),
        ("0", "0.00", Rejection.NOT_POSITIVE),
        ("0e999", "1", Rejection.NOT_POSITIVE),
        ("0.000000001", "0.000000001", Rejection.NOT_POSITIVE),
        ("10.1", "10", Rejection.CROSSED_BOOK),
        (None, "10", Rejection.MALFORMED),
        ("10", "", Rejection.MALFORMED),
    ],
)
def test_what_is_no_price_has_a_name(bid: object, ask: object, rejection: Rejection) -> None:
    """Not a number, out of range, not positive, crossed, one-sided: each is refused by its own name."""
    with pytest.raises(ReadingFault) as refused:
        middle_e8(Quote(bid, ask, None))
    assert refused.value.rejection is rejection


@given(bid=ANYTHING, ask=ANYTHING)
def test_whatever_an_exchange_says_is_a_price_or_a_fault(bid: object, ask: object) -> None:
    """For any two values that JSON can carry there is a positive price that fits 64 bits, or a fault with a name."""
    price = 1
    with contextlib.suppress(ReadingFault):
        price = middle_e8(Quote(bid, ask, None))
    assert 0 < price <= INT64_MAX


TIMES = st.one_of(
    ANYTHING,
    st.datetimes(timezones=st.timezones()).map(dt.datetime.isoformat),
    st.sampled_from([-62_135_596_800_000_000, 253_402_300_799, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]),
    st.sampled_from(["9999-12-31T23:59:59.999999-14:00", "2020-03-12T05:59:59+14:00", "2020-03-12T19:50:00+14:00"]),
    st.integers(int(AT.timestamp()) - 1_000, int(AT.timestamp()) + 10),
)


def reading_or_fault(price: object, time: object, per_second: int) -> Reading | ReadingFault:
    """What becomes of an answer with this price and time; ISO 8601 for `per_second` 0."""
    try:
        told = time_of_units(time, per_second) if per_second else time_of_text(time)
        return reading_of(Quote(price, price, told), AT, 5)
    except ReadingFault as fault:
        return fault


@given(price=ANYTHING | st.just("7925.5"), time=TIMES, per_second=st.sampled_from([0, 1, 1_000, 1_000_000]))
@example(price="1", time="0001-01-01T00:00:00Z", per_second=0)
@example(price="1", time="0001-01-01T00:00:00+14:00", per_second=0)
@example(price="1", time=-62_135_596_800_000_000, per_second=1_000_000)
def test_whatever_time_an_exchange_tells_is_in_bounds_or_a_fault(price: object, time: object, per_second: int) -> None:
    """For any price and time that JSON can carry there is a reading of the last fifteen minutes, in UTC, that a
    history takes, or a fault that can be written into any log."""
    reading = reading_or_fault(price, time, per_second)
    if isinstance(reading, ReadingFault):
        assert str(reading).isascii()
        return
    history = ReadingHistory(60)
    history.add(reading)
    assert AT - KEPT <= reading.time <= AT
    assert reading.time.utcoffset() == dt.timedelta()
    assert history.at(AT).price_e8 == reading.price_e8 > 0


@pytest.mark.parametrize(
    ("seconds", "rejection"), [(-901, Rejection.STALE), (-900, None), (5, None), (6, Rejection.FUTURE)]
)
def test_the_time_of_an_exchange_has_two_bounds(seconds: int, rejection: Rejection | None) -> None:
    """Fifteen minutes back, and as far ahead as clocks may differ, are a reading; a second more is a fault by name."""
    quote = Quote("1", "1", (AT + dt.timedelta(seconds=seconds)).astimezone(dt.timezone(dt.timedelta(hours=14))))
    if rejection is None:
        assert reading_of(quote, AT, 5) == Reading(AT + dt.timedelta(seconds=min(seconds, 0)), 10**8)
        return
    with pytest.raises(ReadingFault) as refused:
        reading_of(quote, AT, 5)
    assert refused.value.rejection is rejection


def test_a_source_that_changes_its_mind_with_every_message_fills_no_memory() -> None:
    """Good and bad in turn, a hundred thousand times in fifteen minutes: the newest thirty minutes' worth are kept."""
    history = ReadingHistory(60)
    for place in range(100_000):
        fault = Rejection.NOT_A_NUMBER if place % 2 else None
        history.add(Reading(AT + dt.timedelta(microseconds=place), 1 + place, fault))
    assert history.at(AT + dt.timedelta(microseconds=98_200)).price_e8 == 98_201
    assert history.at(AT + dt.timedelta(microseconds=98_199)).fault is Rejection.NO_READING


def test_a_locked_book_and_whole_numbers_are_prices() -> None:
    """Bid equal to ask is a price, and so is a bare integer."""
    assert middle_e8(Quote("7925.5", "7925.50", None)) == 792_550_000_000
    assert middle_e8(Quote(7925, 7926, None)) == 792_550_000_000


def test_times_of_every_spelling() -> None:
    """Seconds, milliseconds, microseconds and ISO 8601 mean the same moment; anything else is MALFORMED."""
    seconds = int(AT.timestamp())
    assert time_of_units(str(seconds), 1) == time_of_units(seconds * 1000, 1_000) == AT
    assert time_of_units(seconds * 1_000_000 + 7, 1_000_000) == AT + dt.timedelta(microseconds=7)
    assert time_of_text("2020-03-12T06:00:00.000000Z") == time_of_text("2020-03-12T06:00:00") == AT
    for wrong in ("soon", None, "9" * 30):
        with pytest.raises(ReadingFault, match="MALFORMED"):
            time_of_units(wrong, 1)
        with pytest.raises(ReadingFault, match="MALFORMED"):
            time_of_text(wrong)


def seconds_later(seconds: float) -> dt.datetime:
    """A time after AT."""
    return AT + dt.timedelta(seconds=seconds)


def test_a_round_gets_the_reading_of_its_own_moment() -> None:
    """The newest at or before the moment, never a later one; a bad answer displaces a good one from its moment on."""
    history = ReadingHistory(60)
    for second, price in ((0, 100), (3, 101), (7, 102)):
        history.add(Reading(seconds_later(second), price))
    history.add(Reading(seconds_later(9), 0, Rejection.NOT_A_NUMBER))
    prices = [history.at(seconds_later(second)).price_e8 for second in (0, 2, 3, 8)]
    assert prices == [100, 100, 101, 102]
    assert history.at(seconds_later(9)).fault is Rejection.NOT_A_NUMBER
    assert history.at(seconds_later(-1)).fault is Rejection.NO_READING


def test_a_lost_connection_counts_once_the_last_reading_is_old() -> None:
    """A reading outlives the connection for its age limit; then the latest trouble is what the source says, and the
    next reading ends it."""
    history = ReadingHistory(60)
    history.add(Reading(AT, 100))
    history.fail(seconds_later(10), Rejection.UNREACHABLE)
    history.fail(seconds_later(40), Rejection.TIMED_OUT)
    assert history.at(seconds_later(60)).price_e8 == 100
    assert history.at(seconds_later(61)) == Reading(seconds_later(61), 0, Rejection.TIMED_OUT)
    history.add(Reading(seconds_later(70), 101))
    assert history.at(seconds_later(70)).price_e8 == 101


def test_a_frozen_exchange_grows_stale_and_memory_is_bounded() -> None:
    """An old time of the exchange stays old however often it is repeated; one reading is kept of each second, for
    fifteen minutes."""
    history = ReadingHistory(60)
    for _ in range(100):
        history.add(Reading(AT, 100))
    assert history.at(seconds_later(500)) == Reading(AT, 100)
    for tenth in range(20_000):
        history.add(Reading(seconds_later(tenth / 10), 100 + tenth))
    assert history.at(seconds_later(1_500)).price_e8 == 100 + 14_999
    assert history.at(seconds_later(1_000)).fault is Rejection.NO_READING


def test_pauses_grow_within_bounds_and_honour_what_is_asked() -> None:
    """Half a second, doubled with each failure up to the limit, each from the upper half; never below Retry-After;
    short again after a success."""
    backoff = Backoff(8)
    pauses = [backoff.failed() for _ in range(8)]
    limits = [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
    assert backoff.failed(at_least_seconds=30) == 30
    backoff.succeeded()
    assert backoff.failed() <= 0.5

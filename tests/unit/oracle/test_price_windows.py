"""Candles and averages of windows, against what all rounds alone give."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import FailedPrecondition, InvalidArgument
from services.oracle.domain.candles import Candle, CandleSpan, candle_start, candles_of
from services.oracle.domain.prices import Feed, Price, PriceStatus, boundary_time
from services.oracle.domain.realised import realised_volatility
from services.oracle.domain.window import (
    LONGEST_SECONDS,
    Weight,
    check_window,
    stretches,
    weight_of_rounds,
    window_average,
)

MIDNIGHT = 1_584_057_600
INTERVALS = (1, 5, 45, 60, 90, 600, 1800)


def _price(number: int, usd_e8: int, status: PriceStatus = PriceStatus.OK) -> Price:
    time = boundary_time(number)
    return Price(Feed.BTC_USD, number, status, "", usd_e8, 0, time, time, 1000, False)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Price]]:
    """Interval and rounds around a midnight, some missed, some not OK; both feeds would only repeat it."""
    interval = draw(st.sampled_from(INTERVALS))
    seed = draw(st.integers(0, 2**32))
    chance = random.Random(seed)
    first = (MIDNIGHT - draw(st.integers(0, 4_000))) // interval * interval
    missed, bad = draw(st.sampled_from((0.0, 0.2, 0.9))), draw(st.sampled_from((0.0, 0.3)))
    prices = [
        _price(
            first + place * interval,
            chance.randint(1, 2**62),
            PriceStatus.DEGRADED if chance.random() < bad else PriceStatus.OK,
        )
        for place in range(draw(st.integers(1, 150)))
        if chance.random() >= missed
    ]
    return interval, prices


def _by_definition(prices: list[Price], span: CandleSpan, interval: int) -> list[Candle]:
    """Each candle from the list of its rounds, which are looked for anew."""
    ok = [one for one in prices if one.status is PriceStatus.OK]
    starts = sorted({start for one in ok for start in [(one.round - 1) // span * span]})
    found = []
    for start in starts:
        inside = [one for one in ok if start < one.round <= start + span]
        values = [one.price_usd_e8 for one in inside]
        found.append(
            Candle(
                Feed.BTC_USD,
                span,
                start,
                values[0],
                max(values),
                min(values),
                values[-1],
                len(values),
                inside[0].round,
                inside[-1].round,
                sum(values) * interval,
                len(values) * interval,
            )
        )
    return found


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_candles_kept_a_few_rounds_at_a_time_equal_those_made_from_all(
    history: tuple[int, list[Price]], cuts: random.Random
) -> None:
    """However the rounds are cut into batches, folding gives each candle as its definition does, to the last digit."""
    interval, prices = history
    kept: dict[tuple[CandleSpan, int], Candle] = {}
    place = 0
    while place < len(prices):
        size = cuts.randint(1, 40)
        for candle in candles_of(prices[place : place + size], interval):
            key = (candle.span, candle.start)
            kept[key] = kept[key].followed_by(candle) if key in kept else candle
        place += size
    for span in CandleSpan:
        ours = [one for (of, _), one in sorted(kept.items()) if of is span]
        assert ours == _by_definition(prices, span, interval)


def test_a_round_at_midnight_closes_the_day() -> None:
    """It belongs to the candles that end with it; the next second opens new ones."""
    assert [candle_start(MIDNIGHT, span) for span in CandleSpan] == [MIDNIGHT - span for span in CandleSpan]
    assert [candle_start(MIDNIGHT + 1, span) for span in CandleSpan] == [MIDNIGHT] * 4


def test_a_candle_takes_later_rounds_alone() -> None:
    """A round that is in it, or one of another span, is refused."""
    one, same, other = (candles_of([_price(number, 5)], 60)[0] for number in (MIDNIGHT, MIDNIGHT, MIDNIGHT + 60))
    for wrong in (same, other):
        with pytest.raises(ValueError, match=r"not later|different"):
            one.followed_by(wrong)


@given(histories(), st.integers(-4_000, 100_000), st.integers(1, 200_000))
@settings(max_examples=150, deadline=None)
def test_an_average_from_candles_equals_that_of_all_rounds(
    history: tuple[int, list[Price]], offset: int, length: int
) -> None:
    """Sums and covered seconds of any window are those of every OK round's seconds in it, exactly; the stretches are
    the window without gap or overlap, and those of rounds are short."""
    interval, prices = history
    start, end = MIDNIGHT - 2_000 + offset, MIDNIGHT - 2_000 + offset + length
    kept = candles_of(prices, interval)
    total = Weight()
    parts = stretches(start, end, interval)
    for part in parts:
        if part.span is None:
            # What the store reads for it.
            near = [one for one in prices if part.start < one.round < part.end + interval]
            total += weight_of_rounds(near, part.start, part.end, interval)
        else:
            inside = [one for one in kept if one.span is part.span and part.start <= one.start < part.end]
            total += Weight(sum(one.price_seconds for one in inside), sum(one.covered_seconds for one in inside))
    ok = [one for one in prices if one.status is PriceStatus.OK]
    seconds = [(max(0, min(one.round, end) - max(one.round - interval, start)), one.price_usd_e8) for one in ok]
    assert total == Weight(sum(count * usd for count, usd in seconds), sum(count for count, _ in seconds))
    assert [part.start for part in parts] == [start, *(part.end for part in parts[:-1])]
    assert parts[-1].end == end
    assert all(part.end - part.start < 7_200 for part in parts if part.span is None)
    if total.covered_seconds:
        average = window_average(total, start, end, 0)
        assert average.price_usd_e8 == -(-total.price_seconds // total.covered_seconds)
        assert min(usd for _, usd in seconds) <= average.price_usd_e8 <= max(usd for _, usd in seconds)


def test_a_year_is_few_rows() -> None:
    """A year that starts and ends within a minute, of rounds a second apart, is 366 days, 92 lesser candles and two
    short stretches of rounds at most."""
    parts = stretches(MIDNIGHT + 1, MIDNIGHT - 1 + LONGEST_SECONDS, 1)
    candles = [(part.end - part.start) // part.span for part in parts if part.span is not None]
    rounds = [part.end - part.start for part in parts if part.span is None]
    assert sum(candles) <= 366 + 2 * (23 + 11 + 4)
    assert rounds == [59, 59]


def test_an_average_of_too_little_is_refused() -> None:
    """Half the window covered is enough where half is asked for, a second less is not; nothing covered never is."""
    assert window_average(Weight(500, 50), 0, 100, 5_000).coverage_bps == 5_000
    for weight, minimum in ((Weight(490, 49), 5_000), (Weight(), 0)):
        with pytest.raises(FailedPrecondition) as refused:
            window_average(weight, 0, 100, minimum)
        assert refused.value.reason == "COVERAGE_TOO_LOW"
    for start, end in ((5, 5), (6, 5), (0, LONGEST_SECONDS + 1)):
        with pytest.raises(InvalidArgument):
            check_window(start, end)


def test_volatility_is_per_year_whatever_the_bars() -> None:
    """The same returns each hour instead of each day are sqrt(24) times the volatility."""
    closes = [10_000, 10_100, 9_950, 10_020, 10_300, 10_150]
    bars = [(close, close + 80, close - 90, place) for place, close in enumerate(closes)]
    day, hour = (realised_volatility(bars, span) for span in (CandleSpan.ONE_DAY, CandleSpan.ONE_HOUR))
    for name in ("close_to_close", "ewma", "parkinson"):
        assert math.isclose(getattr(hour, name), math.sqrt(24) * getattr(day, name), rel_tol=1e-12)
    assert (day.bars, day.end) == (6, 5)

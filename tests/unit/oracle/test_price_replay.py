"""The replay: every price of a recorded bar is met, exchanges are near and repeatable, gaps are gaps."""

from __future__ import annotations

import csv
import datetime as dt
import runpy
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.settings import SettingsError
from services.oracle.domain.aggregation import AggregationRules, aggregate
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, PriceStatus
from services.oracle.feeds.replay.exchanges import EXCHANGES, ReplayedPrices
from services.oracle.feeds.replay.path import price_at
from services.oracle.feeds.replay.recorded import load_file, load_series

DATA = Path(__file__).resolve().parents[3] / "data"
BTC_FILE = DATA / "btc_usd_daily_2020_2021.csv"
STX_FILE = DATA / "stx_usd_daily_synthetic_2020_2021.csv"


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    """A time of a day."""
    return dt.datetime.combine(day, dt.time(hour, minute), dt.UTC)


def test_every_recorded_price_is_met() -> None:
    """On every recorded day the path is at the open at 00:00, at the close at 23:59, and at low and high at 08:00 and
    16:00, the low first on a rising day; the figures are those of the file, read independently."""
    bars = {bar.day: bar for bar in load_series(DATA)[Feed.BTC_USD].bars}
    with BTC_FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(bars) == 598
    for row in rows:
        day = dt.date.fromisoformat(row["date"])
        path = [price_at(bars[day], time) for time in (at(day, 0), at(day, 8), at(day, 16), at(day, 23, 59))]
        names = ["open", "low", "high", "close"]
        if Decimal(row["close"]) < Decimal(row["open"]):
            names = ["open", "high", "low", "close"]
        assert path == [int(Decimal(row[name]) * 10**8) for name in names]


@st.composite
def bars(draw: st.DrawFn) -> DailyBar:
    """Any possible bar."""
    low, first, second, high = sorted(draw(st.lists(st.integers(1, 10**14), min_size=4, max_size=4)))
    opened, closed = draw(st.permutations([first, second]))
    return DailyBar(dt.date(2020, 3, 12), opened, high, low, closed)


@given(bar=bars(), microseconds=st.integers(0, 86_400_000_000 - 1))
def test_the_path_never_leaves_the_bar(bar: DailyBar, microseconds: int) -> None:
    """At no time of the day is the price above the high or below the low."""
    time = at(bar.day, 0) + dt.timedelta(microseconds=microseconds)
    assert bar.low_usd_e8 <= price_at(bar, time) <= bar.high_usd_e8


@given(seconds=st.integers(0, 590 * 86_400), feed=st.sampled_from(Feed))
async def test_the_exchanges_are_near_repeatable_and_distinct(seconds: int, feed: Feed) -> None:
    """At any time: five simulated sources, each within its noise and lag of the recorded path, the same when asked
    again by another process, and together an OK price; a day that is missing has none."""
    time = dt.datetime(2020, 1, 1, 0, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    source = REPLAY
    observations = await source.observe(feed, time)
    assert observations == await ReplayedPrices(DATA).observe(feed, time)
    recorded = {bar.day: bar for bar in source.daily_bars(feed)}
    if time.date() not in recorded:
        return
    by_name = {one.source: one for one in observations}
    for exchange in EXCHANGES:
        one = by_name.get(exchange.name)
        if one is None:
            assert time.hour == time.minute == 0
            continue
        exact = price_at(recorded[one.observe_time.date()], one.observe_time)
        assert one.simulated
        assert one.source.startswith("simulated-")
        assert 0 <= (time - one.observe_time).total_seconds() <= exchange.longest_lag_seconds
        assert abs(one.price_usd_e8 - exact) * 1_000_000 <= exact * exchange.noise_ppm + 1_000_000
    if len(observations) == 5 and time.minute:
        assert aggregate(observations, time, AggregationRules()).status is PriceStatus.OK


REPLAY = ReplayedPrices(DATA)


async def test_a_missing_day_has_no_price() -> None:
    """2020-10-12 was not recorded: nothing is invented for it."""
    assert await REPLAY.observe(Feed.BTC_USD, dt.datetime(2020, 10, 12, 12, tzinfo=dt.UTC)) == []
    assert await REPLAY.observe(Feed.BTC_USD, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) == []


def test_the_synthetic_rate_of_usdt_is_made_by_its_script() -> None:
    """The committed file is what the script writes, of the days of BTC, within 2% of a dollar, dearer in the crash;
    no feed is made from it."""
    script = runpy.run_path(str(DATA / "synthesize_usdt_usd.py"))
    path = DATA / "usdt_usd_daily_synthetic_2020_2021.csv"
    with path.open(newline="") as file:
        committed = [tuple(row) for row in csv.reader(file)]
    assert committed == [script["COLUMNS"], *script["rows"]()]
    series = load_file(path, "PRICE_DATA")
    closes = {bar.day: Decimal(bar.close_usd_e8) / 10**8 for bar in series.bars}
    assert series.synthetic
    assert list(closes) == [bar.day for bar in load_series(DATA)[Feed.BTC_USD].bars]
    assert all(abs(close - 1) < Decimal("0.02") for close in closes.values())
    assert closes[dt.date(2020, 3, 12)] > Decimal("1.01")


def test_the_synthetic_series_is_made_by_its_script_and_says_so() -> None:
    """The committed file is what the script writes, of the same days as BTC, and only it counts as synthetic."""
    script = runpy.run_path(str(DATA / "synthesize_stx_usd.py"))
    with STX_FILE.open(newline="") as file:
        committed = [tuple(row) for row in csv.reader(file)]
    assert committed == [script["COLUMNS"], *script["rows"]()]
    series = load_series(DATA)
    assert [bar.day for bar in series[Feed.STX_USD].bars] == [bar.day for bar in series[Feed.BTC_USD].bars]
    assert (series[Feed.BTC_USD].synthetic, series[Feed.STX_USD].synthetic) == (False, True)


GOOD = "2020-01-01,2.0,3.0,1.0,2.5"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        ["2020-01-01,2.0,1.9,1.0,2.5"],
        ["2020-01-01,2.0,3.0,2.1,2.5"],
        ["2020-01-01,2.0,3.0,0,2.5"],
        ["2020-01-01,2.0,3.0,-1,2.5"],
        ["2020-01-01,2.0,NaN,1.0,2.5"],
        ["2020-01-01,2.0,Infinity,1.0,2.5"],
        ["2020-01-01,2.0,1e999999999,1.0,2.5"],
        ["2020-01-01,2.0,100000000.1,1.0,2.5"],
        ["2020-01-01,2.0,3.0,1e-999999999,2.5"],
        ["2020-01-01,2.0,3.0,1.0," + "2" * 200_000],
        ["2020-01-01,2.0,3.0,1.0"],
        ["2020-13-01,2.0,3.0,1.0,2.5"],
        [GOOD, GOOD],
        ["2020-01-02,2.0,3.0,1.0,2.5", GOOD],
    ],
)
def test_a_bad_file_stops_the_start(tmp_path: Path, rows: list[str]) -> None:
    """Impossible, malformed, repeated or disordered days are a SettingsError, not a price."""
    header = "date,open,high,low,close"
    (tmp_path / "stx_usd_daily_x.csv").write_text("\n".join([header, GOOD]) + "\n")
    (tmp_path / "btc_usd_daily_x.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(SettingsError):
        load_series(tmp_path)


def test_prices_are_rounded_to_eight_decimals(tmp_path: Path) -> None:
    """Figures that went through binary fractions are read as what they stand for."""
    path = tmp_path / "prices.csv"
    path.write_text("date,open,high,low,close\n2020-01-01,7194.890000000001,7.2e3,7000.000000006,7100.1\n")
    (bar,) = load_file(path, "PRICES").bars
    read = (bar.open_usd_e8, bar.high_usd_e8, bar.low_usd_e8, bar.close_usd_e8)
    assert read == (719_489_000_000, 720_000_000_000, 700_000_000_001, 710_010_000_000)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    """Without a file for a feed the message names what is missing."""
    with pytest.raises(SettingsError, match="btc_usd_daily_"):
        load_series(tmp_path)

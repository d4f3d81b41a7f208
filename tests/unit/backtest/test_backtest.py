"""The back-test: reproducible from its seed, solvent, honest about prices that cannot be used."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from backtest.__main__ import main
from backtest.demand import Demand, DemandModel
from backtest.figures import equity, tier_figures
from backtest.holding import holdings
from backtest.parameters import contract_defaults
from backtest.pool import Insolvent, Pool, Written
from backtest.prices import DATA, PriceHistory
from backtest.simulation import DayEnd, Record, Simulation
from kernel.pricing import PastVolatility
from kernel.units import USD_E8, Tier, Token
from services.oracle.domain.prices import Feed
from services.policy.domain.quote import Market, make_quote
from tests.integration.policy.stand_ins import PARAMETERS

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def price_file(folder: Path, days: int) -> Path:
    """A CSV of a steadily falling price that never was, under a name of its own."""
    lines = ["date,open,high,low,close"]
    for number in range(days):
        opened, closed = 50_000 - 400 * number, 50_000 - 400 * (number + 1)
        day = dt.date(2023, 1, 1) + dt.timedelta(days=number)
        lines.append(f"{day},{opened},{opened + 250},{closed - 250},{closed}")
    path = folder / "falling.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def content(*prices: str, days: int, first: dt.date = dt.date(2023, 1, 1), weekdays: int = 7) -> str:
    """A CSV of so many days with `open,high,low,close` in turn, of which only so many in a week are recorded."""
    lines = ["date,open,high,low,close"]
    for number in range(days):
        day = first + dt.timedelta(days=number)
        if day.weekday() < weekdays:
            lines.append(f"{day},{prices[number % len(prices)]}")
    return "\n".join(lines) + "\n"


def closes_only(*closes: int) -> tuple[str, ...]:
    """Bars of a source that knows closes only."""
    return tuple(",".join([str(close)] * 4) for close in closes)


def run_content(folder: Path, text: str, model: DemandModel) -> Record:
    """The back-test of a CSV's content."""
    path = folder / "prices.csv"
    path.write_text(text)
    return Simulation(PriceHistory.load(path, 1), contract_defaults(), model, 1).run()


def run(folder: Path, seed: int, model: DemandModel | None = None) -> Record:
    """A short back-test."""
    prices = PriceHistory.load(price_file(folder, 40), seed)
    return Simulation(prices, contract_defaults(), model or DemandModel(), seed).run()


def test_the_parameters_are_those_of_the_contract() -> None:
    """What is read from the contract's text is what its own tests read from the VM, by name and value."""
    values = contract_defaults().values
    assert {name: values[name] for name in PARAMETERS} == PARAMETERS
    assert values["aggressive.utilization-max-bps"] == 9_000


def test_a_run_is_reproducible_from_its_seed(tmp_path: Path) -> None:
    """The same seed gives the same record, another seed another one."""
    few = DemandModel(requests_per_day=10.0)
    first, again, other = (run(tmp_path, seed, few) for seed in (7, 7, 8))
    assert first == again
    assert first.ended != other.ended
    assert {one.how for one in first.ended} >= {"activated", "at expiry"}


def test_a_falling_market_is_paid_and_the_pool_stays_solvent(tmp_path: Path) -> None:
    """Forty days of falls cost providers money, and every policy is paid in full; each hour is checked."""
    record = run(tmp_path, 3)
    assert record.steps_checked == 40 * 24
    assert sum(one.payout_usd_e8 for one in record.ended) > sum(one.premium_usd_e8 for one in record.ended)
    last = [day for day in record.days if day.day == record.days[-1].day]
    assert all(day.locked <= day.total for day in last)


def test_scarce_capital_is_charged_as_in_a_quote(tmp_path: Path) -> None:
    """Holders who fill the tiers pay for it; where most of the capital is idle, nobody does."""
    crowd = run(tmp_path, 3, DemandModel(requests_per_day=60.0, median_size_btc=2.0))
    few = run(tmp_path, 3, DemandModel(requests_per_day=2.0, median_size_btc=0.01))
    assert max(crowd.most_utilization_bps.values()) > 6_000 > max(few.most_utilization_bps.values())
    assert crowd.scarcity_usd_e8 > 0 == few.scarcity_usd_e8


def test_the_check_finds_collateral_that_is_missing() -> None:
    """A pool whose books lost a policy, or that locked more than it has, is insolvent."""
    pool, market = Pool(), Market(50_000 * USD_E8, USD_E8, 0, 0, PastVolatility(1, 1, 1, 1), 50_000 * USD_E8, USD_E8)
    pool.deposit(Tier.AGGRESSIVE, Token.SBTC, 1_000, START)
    crowd = Demand(DemandModel(requests_per_day=10_000, sbtc_share=1.0), 1)
    request = next(crowd.requests(50_000 * USD_E8, None))
    written = Written(1, make_quote(request.terms, market, contract_defaults()), 0)
    pool.write(written, START)
    with pytest.raises(Insolvent, match="there"):
        pool.check(START)
    del pool.open[1]
    pool.deposit(Tier.BALANCED, Token.SBTC, 1_000, START)
    with pytest.raises(Insolvent, match="largest payouts"):
        pool.check(START)


def test_the_command_writes_both_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per tier, a report for people and one for machines, for any CSV of the form."""
    out = tmp_path / "out"
    assert main(["--prices", str(price_file(tmp_path, 40)), "--seed", "5", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [tier.name for tier in Tier]
    for words in ("policies", "premiums", "payouts", "loss ratio", "annual return", "worst drawdown", "utilization"):
        assert all(words in line for line in lines[:3])
    report = json.loads((out / "report.json").read_text())
    assert report["solvent"] and report["seed"] == 5 and report["prices"] == "falling.csv"
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "Where providers would not have ended ahead" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,open,high,low,close\n2020-01-01,1,2,1,1.5\n", "at least 30"),
        ("date,open,high,low,close\n2020-01-01,1,0,1,1.5\n", "impossible bar"),
        ("date,open,high,low\n2020-01-01,1,2,1\n", "malformed row"),
        ("date,open,high,low,close\n2020-01-02,1,2,1,1\n2020-01-01,1,2,1,1\n", "not ascending"),
        ("", "not ascending"),
        (content(*closes_only(50_000), days=30, first=dt.date(2300, 1, 1)), "after 2199"),
        (content("1,1,0.0001,1", days=30), "below 0.001"),
        (content("1,1e12,1,1", days=30), "malformed row"),
        (content("1,Infinity,1,1", days=30), "malformed row"),
        (content("1,1,1," + "9" * 200_000, days=30), "is no CSV"),
        (content("1,90000000,1,90000000", days=60), "STX/USD"),
    ],
)
def test_prices_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """A file that is no price history ends with one line that says why, and exit code 2."""
    file = tmp_path / "prices.csv"
    file.write_text(text)
    assert main(["--prices", str(file), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main(["--prices", str(tmp_path / "none.csv")]) == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_providers_end_ahead_over_both_crashes(seed: int) -> None:
    """Over the recorded prices every tier earns more than it pays and is solvent at each hour, sold as it is to a third
    of the holders: the same days and rules for a third of the time; the command replays them all."""
    model = DemandModel(requests_per_day=DemandModel().requests_per_day / 3)
    prices = PriceHistory.load(None, seed)
    record = Simulation(prices, contract_defaults(), model, seed).run()
    assert record.steps_checked == 602 * 24
    assert {dt.date(2020, 3, 12), dt.date(2021, 5, 19)} < {day.day for day in record.days if day.payouts_usd_e8}
    for figures in (tier_figures(record, tier) for tier in Tier):
        assert figures.policies > 900
        assert figures.annual_return > 0.0
        assert figures.loss_ratio < 1.0


def test_prices_that_move_little_or_late_are_replayed(tmp_path: Path) -> None:
    """Bars that know closes only, and eleven days without a move, are sold to once something moved; a price that never
    moves at all is sold to nobody."""
    few = DemandModel(requests_per_day=10.0)
    moving = run_content(tmp_path, content(*closes_only(50_000, 51_000, 49_000), days=40), few)
    assert moving.ended
    still = content(*closes_only(50_000), days=11)
    then = content(*closes_only(51_000, 49_000), days=40, first=dt.date(2023, 1, 12))
    late = run_content(tmp_path, still + then.partition("\n")[2], few)
    assert late.ended
    never = run_content(tmp_path, content(*closes_only(50_000), days=40), few)
    assert (never.ended, never.still_open, never.days_not_quoted) == ([], 0, 40)


def test_a_history_with_gaps_is_sold_to_until_its_end(tmp_path: Path) -> None:
    """Five years of weekdays, which miss over five hundred days: policies are written in the last weeks too."""
    few = DemandModel(requests_per_day=0.5)
    record = run_content(tmp_path, content("50000,51000,49000,50500", days=5 * 365, weekdays=5), few)
    assert record.days_not_quoted == 15
    assert max(one.start_time for one in record.ended).date() > record.days[-1].day - dt.timedelta(days=60)


def test_returns_are_by_the_calendar(tmp_path: Path) -> None:
    """Two years of weekdays in which a share quadruples are 100% a year, and a period of 30 days ends 30 days later."""
    record = Record()
    for number in range(730):
        day, worth = dt.date(2023, 1, 2) + dt.timedelta(days=number), 4_000_000 if number > 365 else 1_000_000
        if day.weekday() < 5:
            ends = (DayEnd(day, Tier.BALANCED, token, worth, 0, 0, 0, 0) for token in Token)
            record.days.extend(ends)
    figures = tier_figures(record, Tier.BALANCED)
    assert figures.annual_return == pytest.approx(1.0)
    rows = holdings("BALANCED", equity(record, Tier.BALANCED))
    assert [row.days for row in rows] == [30, 90, 180, 365]
    for row in rows:
        assert dt.date.fromisoformat(row.worst_until) - dt.date.fromisoformat(row.worst_from) == dt.timedelta(row.days)


def test_holding_periods_are_all_of_a_length() -> None:
    """Of 33 days three periods of 30 days exist; the one that lost is found, with its dates."""
    days = [(START.date() + dt.timedelta(days=number)).isoformat() for number in range(33)]
    worth = list(zip(days, [1.0] * 31 + [0.9, 1.2], strict=True))
    (row,) = holdings("BALANCED", worth)
    assert (row.days, row.periods, row.part_with_loss) == (30, 3, 1 / 3)
    assert row.worst_return == pytest.approx(-0.1)
    assert (row.worst_from, row.worst_until) == (days[1], days[31])


def test_days_without_a_price_have_none() -> None:
    """A day that was not recorded has no price, and an expiry in it no average."""
    prices = PriceHistory.load(None, 1)
    missing = dt.datetime(2020, 4, 17, 12, tzinfo=dt.UTC)
    assert prices.at(Feed.BTC_USD, missing) is None
    assert prices.expiry(Feed.BTC_USD, missing) is None
    assert prices.expiry(Feed.BTC_USD, missing - dt.timedelta(days=1)) is not None
    assert (DATA / "btc_usd_daily_2020_2021.csv").exists()

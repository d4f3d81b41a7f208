"""``python -m backtest``: replays daily prices through the product's own rules, and what providers would have earned.

    --prices FILE   a CSV with date,open,high,low,close; the recorded prices of data/ otherwise
    --seed N        of the demand and of the synthetic STX/USD; 1 otherwise
    --out FOLDER    where report.html and report.json go; build/backtest otherwise

Prints one line per tier. Ends with 1 if the pool was ever insolvent, with 2 for prices that cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backtest.alternatives import run_all
from backtest.figures import summary, tier_figures
from backtest.pool import Insolvent
from backtest.prices import PriceHistory
from backtest.report import write_report
from kernel.settings import SettingsError
from kernel.units import Tier

_OUT: Final = Path("build/backtest")
_RECORDED: Final = "real daily bars, data/btc_usd_daily_2020_2021.csv"


def main(arguments: Sequence[str]) -> int:
    """Runs one back-test; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m backtest", description=__doc__.partition("\n")[0])
    parser.add_argument("--prices", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=_OUT)
    given = parser.parse_args(arguments)
    if given.seed < 0:
        parser.error("--seed must not be negative")
    try:
        prices = PriceHistory.load(given.prices, given.seed)
        record, alternatives = run_all(prices, given.seed)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except Insolvent as error:
        print(f"insolvent: {error}", file=sys.stderr)
        return 1
    source = _RECORDED if given.prices is None else given.prices.name
    found = summary(record, prices.stx_source, given.seed, source)
    write_report(given.out, record, prices, found, alternatives)
    for tier in Tier:
        print(tier_figures(record, tier).line())
    print(f"solvent at each of {record.steps_checked:,} steps; {record.days_not_quoted} days without a volatility")
    print(f"report: {given.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

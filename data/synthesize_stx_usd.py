"""Makes `stx_usd_daily_synthetic_2020_2021.csv`: an invented STX/USD history, correlated with the real BTC/USD one.

    python data/synthesize_stx_usd.py

Each day's logarithmic return is BETA x BTC's return of that day + a normal draw of DAILY_NOISE + DRIFT, from a
fixed seed; high and low lie beyond open and close by BTC's own excursions of the day and a small draw. Nothing
in it was ever traded: it exists so that STX-settled policies can be replayed. Days are those of the BTC file.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
SOURCE: Final = FOLDER / "btc_usd_daily_2020_2021.csv"
TARGET: Final = FOLDER / "stx_usd_daily_synthetic_2020_2021.csv"
SEED: Final = 20200101
FIRST_OPEN_USD: Final = 0.25
BETA: Final = 0.9
DAILY_NOISE: Final = 0.03
DRIFT: Final = 0.0005
COLUMNS: Final = ("date", "open", "high", "low", "close")


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of the synthetic series: date, open, high, low, close in US dollars, six decimals."""
    generator = random.Random(SEED)
    opened = FIRST_OPEN_USD
    with SOURCE.open(newline="") as file:
        for bar in csv.DictReader(file):
            btc = {name: float(bar[name]) for name in COLUMNS[1:]}
            move = BETA * math.log(btc["close"] / btc["open"]) + generator.gauss(DRIFT, DAILY_NOISE)
            closed = opened * math.exp(move)
            above = btc["high"] / max(btc["open"], btc["close"]) * math.exp(abs(generator.gauss(0.0, 0.008)))
            below = btc["low"] / min(btc["open"], btc["close"]) * math.exp(-abs(generator.gauss(0.0, 0.008)))
            prices = (opened, max(opened, closed) * above, min(opened, closed) * below, closed)
            one, two, three, four = (f"{price:.6f}" for price in prices)
            yield bar["date"], one, two, three, four
            opened = closed


def main() -> None:
    """Writes the file."""
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows())


if __name__ == "__main__":
    main()

"""Makes `usdt_usd_daily_synthetic_2020_2021.csv`: an invented USDT/USD history for the days of the real BTC/USD one.

    python data/synthesize_usdt_usd.py

A day's close is 1 + a normal draw of NOISE, and up to LARGEST_PREMIUM more on days on which BTC falls, when people flee
into it: PREMIUM x the fall. From a fixed seed. Nothing in it was ever traded: it exists so that pairs quoted in USDT
can be shown by the stand-ins of exchanges.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
SOURCE: Final = FOLDER / "btc_usd_daily_2020_2021.csv"
TARGET: Final = FOLDER / "usdt_usd_daily_synthetic_2020_2021.csv"
SEED: Final = 20200102
NOISE: Final = 0.0008
PREMIUM: Final = 0.05
LARGEST_PREMIUM: Final = 0.015
COLUMNS: Final = ("date", "open", "high", "low", "close")


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of the synthetic series: date, open, high, low, close in US dollars, five decimals."""
    generator = random.Random(SEED)
    opened = 1.0
    with SOURCE.open(newline="") as file:
        for bar in csv.DictReader(file):
            fall = max(0.0, 1.0 - float(bar["close"]) / float(bar["open"]))
            closed = 1.0 + min(PREMIUM * fall, LARGEST_PREMIUM) + generator.gauss(0.0, NOISE)
            above, below = (abs(generator.gauss(0.0, NOISE)) for _ in range(2))
            prices = (opened, max(opened, closed) + above, min(opened, closed) - below, closed)
            one, two, three, four = (f"{price:.5f}" for price in prices)
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

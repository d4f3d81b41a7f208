"""Recorded daily bars from CSV files: `{btc_usd,stx_usd}_daily_*.csv` with date, open, high, low, close in USD.

A series is synthetic if its file's name says so. Prices are rounded to eight decimals.
"""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from kernel.settings import SettingsError
from kernel.units import USD_E8
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed

# A thousand times what a bitcoin ever cost: beyond it amounts leave their range, and the file means something else.
HIGHEST_USD: Final = 100_000_000


@dataclass(frozen=True)
class RecordedSeries:
    """The bars of one feed, in order of their days."""

    bars: Sequence[DailyBar]
    synthetic: bool


def load_series(folder: Path) -> Mapping[Feed, RecordedSeries]:
    """The series of every feed in a folder; SettingsError unless there is exactly one good file for each."""
    return {feed: _load(folder, feed) for feed in Feed}


def _load(folder: Path, feed: Feed) -> RecordedSeries:
    pattern = f"{feed.name.lower()}_daily_*.csv"
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SettingsError(f"PRICE_DATA: {len(files)} files {pattern} in {folder}, one expected")
    return load_file(files[0], "PRICE_DATA")


def load_file(path: Path, setting: str) -> RecordedSeries:
    """The series of one file; SettingsError that names `setting` unless it is a good one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            bars = [_bar(path.name, row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}: {path} cannot be read: {error}") from error
    except csv.Error as error:
        raise SettingsError(f"{setting}: {path.name} is no CSV: {error}") from error
    except _MalformedRow as error:
        raise SettingsError(f"{setting}: {error}") from error
    if not bars or any(later.day <= earlier.day for earlier, later in itertools.pairwise(bars)):
        raise SettingsError(f"{setting}: the days of {path.name} are not ascending")
    return RecordedSeries(bars, "synthetic" in path.name)


class _MalformedRow(ValueError):
    """A row that is no daily bar."""


def _bar(name: str, row: Mapping[str, str]) -> DailyBar:
    try:
        day = dt.date.fromisoformat(row["date"])
        opened, high, low, closed = (_usd_e8(row[column]) for column in ("open", "high", "low", "close"))
    except (KeyError, ValueError, ArithmeticError, TypeError) as error:
        raise _MalformedRow(f"{name} has a malformed row: {dict(row)}") from error
    if not 0 < low <= min(opened, closed) <= max(opened, closed) <= high:
        raise _MalformedRow(f"{name} has an impossible bar: {day}")
    return DailyBar(day, opened, high, low, closed)


def _usd_e8(text: str) -> int:
    price = Decimal(text)
    if price > HIGHEST_USD:
        raise ValueError(f"above {HIGHEST_USD} USD")
    return round(price * USD_E8)

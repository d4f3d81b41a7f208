"""Recorded daily bars from CSV files: `{btc_usd,stx_usd}_daily_*.csv` with date, open, high, low, close in USD.

A series is synthetic if its file's name says so.
"""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from kernel.settings import SettingsError
from kernel.units import USD_E8
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed


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
    with files[0].open(newline="") as file:
        bars = [_bar(files[0].name, row) for row in csv.DictReader(file)]
    if not bars or any(later.day <= earlier.day for earlier, later in itertools.pairwise(bars)):
        raise SettingsError(f"PRICE_DATA: the days of {files[0].name} are not ascending")
    return RecordedSeries(bars, "synthetic" in files[0].name)


def _bar(name: str, row: Mapping[str, str]) -> DailyBar:
    try:
        day = dt.date.fromisoformat(row["date"])
        opened, high, low, closed = (_usd_e8(row[column]) for column in ("open", "high", "low", "close"))
    except (KeyError, ValueError, InvalidOperation, TypeError) as error:
        raise SettingsError(f"PRICE_DATA: {name} has a malformed row: {dict(row)}") from error
    if not 0 < low <= min(opened, closed) <= max(opened, closed) <= high:
        raise SettingsError(f"PRICE_DATA: {name} has an impossible bar: {day}")
    return DailyBar(day, opened, high, low, closed)


def _usd_e8(text: str) -> int:
    scaled = Decimal(text) * USD_E8
    if scaled != scaled.to_integral_value():
        raise ValueError("more than eight decimals")
    return int(scaled)

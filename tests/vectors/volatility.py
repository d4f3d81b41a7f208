"""Realised volatility of daily bars."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.oracle.domain.volatility import (
    close_to_close,
    close_to_close_zero_mean,
    ewma,
    log_returns,
    parkinson,
)
from tests.vectors.entry import Entry, check_entries

_RELATIVE = 1e-10
_WINDOW = re.compile(r"close_to_close_sample_last(\d+)")


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document's cases are bars."""
    return any("ohlc" in case for case in document.get("cases", []))


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each case of the document."""
    return check_entries("cases", document["cases"], _case)


def _case(entry: Entry) -> None:
    bars, expected = entry["ohlc"], entry["expected"]
    consistent = all(low <= min(first, last) <= max(first, last) <= high for first, high, low, last in bars)
    entry.require("bars are consistent", consistent)
    figures = Entry("expected", 0, expected)
    _figures(figures, [bar[1] for bar in bars], [bar[2] for bar in bars], [bar[3] for bar in bars])
    entry.failures.extend(figures.failures)
    entry.failures.extend(f"no check knows the figure {name}" for name in figures.unused)


def _figures(figures: Entry, highs: list[float], lows: list[float], closes: list[float]) -> None:
    figures.equal("n_returns", len(log_returns(closes)))
    figures.close("close_to_close_sample", close_to_close(closes), _RELATIVE, 0.0)
    figures.close("close_to_close_zero_mean", close_to_close_zero_mean(closes), _RELATIVE, 0.0)
    figures.close("ewma_094", ewma(closes), _RELATIVE, 0.0)
    figures.close("parkinson", parkinson(highs, lows), _RELATIVE, 0.0)
    for name in figures.unused:
        window = _WINDOW.fullmatch(name)
        if window:
            figures.close(name, close_to_close(closes, int(window[1])), _RELATIVE, 0.0)

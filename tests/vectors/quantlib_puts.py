"""European puts and cash-or-nothing puts, with Greeks and implied volatility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel.pricing import cash_or_nothing_put, european_put, implied_volatility
from tests.vectors.entry import Entry, check_entries

_PREMIUM = 1e-9
"""Of spot."""
_GREEK_RELATIVE = 1e-7
_GREEK_ABSOLUTE = 1e-12
_IMPLIED = 1e-6
_EXACT = 1e-12
"""For figures that follow from others by one division."""


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document's rows are plain puts."""
    return any("cash_or_nothing_put_premium" in row for row in document.get("rows", []))


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each row of the document."""
    return check_entries("rows", document["rows"], _row)


def _row(entry: Entry) -> None:
    spot, strike, volatility = float(entry["spot"]), float(entry["strike"]), float(entry["vol"])
    rate, years = float(entry["rate"]), entry["days"] / 365
    entry.close("t_years", years, _EXACT, 0.0)
    entry.close("strike_pct", strike / spot, _EXACT, 0.0)
    entry.require("no dividend", entry["dividend_yield"] == 0.0)
    put = european_put(spot, strike, volatility, rate, years)
    entry.close("premium", put.value, 0.0, _PREMIUM * spot)
    entry.close("premium_pct_of_spot", put.value / spot, 0.0, _PREMIUM)
    for name, ours in (
        ("delta", put.delta),
        ("gamma", put.gamma),
        ("vega", put.vega),
        ("theta_per_year", put.theta),
        ("rho", put.rho),
    ):
        entry.close(name, ours, _GREEK_RELATIVE, _GREEK_ABSOLUTE)
    entry.require("the cash is the strike", entry["cash_or_nothing_put_cash"] == strike)
    cash = cash_or_nothing_put(spot, strike, entry["cash_or_nothing_put_cash"], volatility, rate, years)
    entry.close("cash_or_nothing_put_premium", cash.value, 0.0, _PREMIUM * spot)
    entry.close("cash_or_nothing_put_delta", cash.delta, _GREEK_RELATIVE, _GREEK_ABSOLUTE)
    implied = entry["implied_vol"]
    if entry["iv_testable"]:
        ours = implied_volatility(float(entry["premium"]), spot, strike, rate, years)
        entry.close("implied_vol", ours, 0.0, _IMPLIED)
    else:
        entry.notes.append(f"implied volatility {implied} not compared: the row says it cannot be")

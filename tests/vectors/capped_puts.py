"""The policy's own payoff: a put capped at the floor, European and American."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token
from tests.vectors.entry import Entry, check_entries

_EUROPEAN = 1e-9
"""Of spot."""
_AMERICAN = 2e-4
"""Of spot."""
# What the reference is good to: beyond it one of the two is worse than it should be, which is said aloud.
_EUROPEAN_ERROR = 1e-12
"""Of spot."""
_AMERICAN_ERROR = 5e-6
"""Of spot: the stated bound of the reference's error."""
_ESTIMATES = 2.0
"""The reference extrapolates as if its grid's error were of second order. Where it is of first order, what
is left is twice the step that the row gives as its estimate: seen where the exact value is known (rate zero),
and against a finer lattice (`test_american_lattice.py`)."""
BEYOND = "more than the reference is good to"
_TOKENS = {"sbtc": Token.SBTC, "stx": Token.STX}


def recognises(document: dict[str, Any]) -> bool:
    """Whether the document's rows are capped puts."""
    return any("settlement" in row for row in document.get("rows", []))


def check(document: dict[str, Any]) -> Iterator[Entry]:
    """Checks each row of the document."""
    return check_entries("rows", document["rows"], _row)


def _row(entry: Entry) -> None:
    spot, estimate = float(entry["spot"]), float(entry["american_error_estimate"])
    terms = PolicyTerms(_TOKENS[entry["settlement"]], float(entry["strike"]), float(entry["floor"]))
    value = value_policy(terms, spot, float(entry["vol"]), float(entry["rate"]), entry["days"] / 365)
    entry.close("european", value.european, 0.0, _EUROPEAN * spot)
    entry.close("american", value.american, 0.0, _AMERICAN * spot)
    entry.require("early exercise is worth something or nothing", value.american >= value.european)
    away = abs(value.european - entry["european"]) / spot
    if away > _EUROPEAN_ERROR:
        entry.notes.append(f"european: {away:.1e} of spot away, {BEYOND}")
    away = abs(value.american - entry["american"]) / spot
    if away > max(_AMERICAN_ERROR, _ESTIMATES * estimate / spot):
        entry.notes.append(f"american: {away:.1e} of spot away, {BEYOND}")
    elif away > estimate / spot:
        entry.notes.append(f"american: {away:.1e} of spot away, its estimate is {estimate / spot:.1e}")

"""The policy's own payoff: a put capped at the floor, European and American."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token
from tests.vectors.entry import Entry, check_entries

_EUROPEAN = 1e-12
"""Of spot."""
_AMERICAN = 5e-6
"""Of spot: the stated bound of the reference's error."""
_ESTIMATES = 2.0
"""The reference extrapolates as if its grid's error were of second order. Where it is of first order, what
is left is twice the step that the row gives as its estimate: seen where the exact value is known (rate zero),
and against a finer lattice (`test_american_lattice.py`)."""
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
    entry.require("the error estimate is small", 0.0 <= estimate <= _AMERICAN * spot)
    entry.close("american", value.american, 0.0, max(_AMERICAN * spot, _ESTIMATES * estimate))
    entry.require("early exercise is worth something or nothing", value.american >= value.european)
    distance = abs(value.american - entry["american"])
    if distance > estimate:
        shares = f"{distance / spot:.1e} of spot away, its estimate is {estimate / spot:.1e}"
        entry.notes.append(f"american: {shares}")

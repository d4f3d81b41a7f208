"""The American value against a lattice of our own: closer than the recorded reference can tell."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kernel.pricing import PolicyTerms, value_policy
from kernel.units import Token

_ROWS = json.loads((Path(__file__).parent / "data" / "capped_puts_open.json").read_text())["rows"]
_TOKENS = {"sbtc": Token.SBTC, "stx": Token.STX}


def _lattice(row: dict[str, float], nodes: int) -> float:
    """Trinomial in log price from the floor, where exercise is certain, to far above; strike on a node."""
    spot, strike, floor, volatility, rate = (row[name] for name in ("spot", "strike", "floor", "vol", "rate"))
    years = row["days"] / 365
    step = math.log(strike / floor) / nodes
    top = math.log(strike / floor) + max(math.log(spot / strike), 0.0) + 7.0 * volatility * math.sqrt(years)
    payoff = np.maximum(strike - floor * np.exp(step * np.arange(int(top / step) + 3)), 0.0)
    steps = math.ceil(3.0 * volatility**2 * years / step**2)
    spread = volatility**2 * years / steps / step**2
    drift = (rate - 0.5 * volatility**2) * years / steps / step
    up, down = (0.5 * (spread + drift**2 + sign * drift) for sign in (1.0, -1.0))
    discount = math.exp(-rate * years / steps)
    value = payoff.copy()
    for _ in range(steps):
        waiting = discount * (up * value[2:] + (1.0 - up - down) * value[1:-1] + down * value[:-2])
        value[1:-1] = np.maximum(waiting, payoff[1:-1])
    return _cubic(value, math.log(spot / floor) / step)


def _cubic(values: np.ndarray[tuple[int], np.dtype[np.float64]], place: float) -> float:
    first = int(place) - 1
    points = range(first, first + 4)
    return sum(float(values[i]) * math.prod((place - j) / (i - j) for j in points if j != i) for i in points)


@pytest.mark.parametrize("index", [0, 5, 13, 39, 51])
def test_american_value_meets_a_finer_lattice(index: int) -> None:
    """Proves the American value to 1e-7 of spot where the recorded reference is off by more than it says."""
    row = _ROWS[index]
    deviation = row["vol"] * math.sqrt(row["days"] / 365)
    nodes = max(30, round(50 * math.log(row["strike"] / row["floor"]) / deviation))
    coarse, fine = _lattice(row, nodes), _lattice(row, 2 * nodes)
    terms = PolicyTerms(_TOKENS[row["settlement"]], row["strike"], row["floor"])
    ours = value_policy(terms, row["spot"], row["vol"], row["rate"], row["days"] / 365).american
    assert abs(ours - (fine + (fine - coarse) / 3.0)) <= 1e-7 * row["spot"]

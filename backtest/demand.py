"""Who asks for protection: a stated, seeded model of holders. It is an assumption, and the report says so.

Every hour a Poisson number of holders asks. Falls frighten: after a fall over a week more of them come. A holder
draws a purpose and from it a strike and a floor relative to the price and a duration; a size, a token, the most that
they would pay as a share of the largest payout, and a habit:

- the watchful activate as soon as the price is at or below the floor, where waiting can gain nothing;
- the hasty activate once half of the largest payout is to be had;
- the forgetful never activate: the policy settles by itself at expiry.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from kernel.units import BPS, SATS_PER_BTC, Token
from services.policy.domain.tiers import Terms

_BLOCKS_PER_DAY: Final = 144
_HOURS_PER_DAY: Final = 24


class Habit(enum.StrEnum):
    """When a holder activates."""

    WATCHFUL = "WATCHFUL"
    HASTY = "HASTY"
    FORGETFUL = "FORGETFUL"


@dataclass(frozen=True)
class Purpose:
    """One kind of protection: how often it is sought (a share), and the ranges that its terms are drawn from.

    Strikes are parts of spot, floors parts of the strike, durations days.
    """

    name: str
    share: float
    strikes: tuple[float, float]
    floors: tuple[float, float]
    days: tuple[int, int]


PURPOSES: Final = (
    Purpose("a crash within the week", 0.40, (0.80, 0.90), (0.80, 0.92), (2, 7)),
    Purpose("a bad month", 0.35, (0.85, 1.00), (0.62, 0.85), (10, 30)),
    Purpose("a season", 0.25, (0.90, 1.08), (0.45, 0.75), (30, 90)),
)


@dataclass(frozen=True)
class DemandModel:
    """The model's figures. Shares are parts of one, sizes BTC.

    `requests_per_day` in calm times; `fear` multiplies them by 1 + fear x (fall over seven days). Sizes are
    log-normal. `willing_to_pay` bounds a uniform draw, as a part of the largest payout.
    """

    requests_per_day: float = 30.0
    fear: float = 8.0
    median_size_btc: float = 0.10
    size_spread: float = 0.9
    sbtc_share: float = 0.7
    purposes: tuple[Purpose, ...] = PURPOSES
    willing_to_pay: tuple[float, float] = (0.02, 0.60)
    habits: dict[Habit, float] = field(
        default_factory=lambda: {Habit.WATCHFUL: 0.5, Habit.HASTY: 0.2, Habit.FORGETFUL: 0.3}
    )


@dataclass(frozen=True)
class Request:
    """What one holder asks for, what they would pay at most (base units per base unit of payout), and their habit."""

    terms: Terms
    willing_bps: int
    habit: Habit


class Demand:
    """Draws requests; the same seed and the same prices give the same ones."""

    def __init__(self, model: DemandModel, seed: int) -> None:
        self._model = model
        self._random = np.random.default_rng([seed, 2])

    def requests(self, spot_e8: int, week_ago_e8: int | None) -> Iterator[Request]:
        """The requests of one hour at a spot, USD e8."""
        fall = 0.0 if week_ago_e8 is None else max(0.0, 1.0 - spot_e8 / week_ago_e8)
        mean = self._model.requests_per_day / _HOURS_PER_DAY * (1.0 + self._model.fear * fall)
        for _ in range(int(self._random.poisson(mean))):
            yield self._request(spot_e8)

    def _request(self, spot_e8: int) -> Request:
        model, draw = self._model, self._random
        purpose = model.purposes[int(draw.choice(len(model.purposes), p=[one.share for one in model.purposes]))]
        size = float(draw.lognormal(np.log(model.median_size_btc), model.size_spread))
        strike = int(spot_e8 * draw.uniform(*purpose.strikes))
        terms = Terms(
            protected_amount_sats=max(int(size * SATS_PER_BTC), 1),
            strike_price_usd_e8=strike,
            floor_price_usd_e8=int(strike * draw.uniform(*purpose.floors)),
            token=Token.SBTC if draw.random() < model.sbtc_share else Token.STX,
            duration_blocks=int(draw.integers(purpose.days[0], purpose.days[1], endpoint=True)) * _BLOCKS_PER_DAY,
            auto_settle=True,
        )
        habits = list(model.habits)
        habit = habits[int(draw.choice(len(habits), p=[model.habits[one] for one in habits]))]
        return Request(terms, int(draw.uniform(*model.willing_to_pay) * BPS), habit)

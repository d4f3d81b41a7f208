"""The volatility that a policy is priced with: by horizon, never below its tier's floor, more for lower strikes.

Two estimates of past variance are joined by the policy's time to expiry. The exponentially weighted one says how
the market is now, the blend of longer windows how it usually is; the first decays towards the second with a half-life
(variance that reverts to a mean, as in Heston, "A Closed-Form Solution for Options with Stochastic Volatility", 1993,
averaged over the policy's time). A put below the spot costs more volatility than one at it, in proportion to the number
of standard deviations that the price would have to fall: large falls are more frequent than a normal law of this
variance allows. All volatilities are per year of 365 days, 1.0 is 100%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from kernel.pricing.errors import PricingError, check_not_negative, check_positive
from kernel.pricing.normal import Array
from kernel.units import Tier

_DAYS_PER_YEAR: Final = 365.0
# Beyond, history holds too few falls to say more.
_MOST_DEVIATIONS: Final = 3.0
_BOUNDS: Final = {
    "weight_30d": (0.0, 1.0),
    "weight_90d": (0.0, 1.0),
    "weight_parkinson": (0.0, 1.0),
    "half_life_days": (1.0, 365.0),
    "skew": (0.0, 1.0),
    "floor_conservative": (0.05, 3.0),
    "floor_balanced": (0.05, 3.0),
    "floor_aggressive": (0.05, 3.0),
}


@dataclass(frozen=True, slots=True)
class PastVolatility:
    """Realised volatility as the oracle estimates it: EWMA, close to close over 30 and 90 days, Parkinson 30 days.

    Zero where nothing moved in that window, as in bars that know closes only. PricingError where all are: a price that
    never moved says nothing of how it will.
    """

    ewma: float
    close_to_close_30d: float
    close_to_close_90d: float
    parkinson_30d: float

    def __post_init__(self) -> None:
        if sum(check_not_negative(field.name, getattr(self, field.name)) for field in fields(self)) == 0.0:
            raise PricingError("an estimate of zero in every window is none")


@dataclass(frozen=True, slots=True)
class VolatilityRules:
    """Parameters of the volatility used; each within its bounds, the reasons for the defaults are in ADR 0017.

    `weight_*`: shares of the windows in the blend of variances, which sum to 1. `half_life_days`: how fast the market
    of now becomes the usual one. `skew`: relative rise of volatility per standard deviation from spot down to the
    strike, three of them at most. `floor_*`: the least volatility by tier, before the skew.
    """

    weight_30d: float = 0.4
    weight_90d: float = 0.4
    weight_parkinson: float = 0.2
    half_life_days: float = 20.0
    skew: float = 0.20
    floor_conservative: float = 0.65
    floor_balanced: float = 0.60
    floor_aggressive: float = 0.55

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                raise PricingError(f"{name} must lie between {least} and {most}: {value!r}")
        if not math.isclose(self.weight_30d + self.weight_90d + self.weight_parkinson, 1.0, abs_tol=1e-9):
            raise PricingError("weight_30d, weight_90d and weight_parkinson must sum to 1")

    def floor(self, tier: Tier) -> float:
        """The least volatility of a tier."""
        return {
            Tier.CONSERVATIVE: self.floor_conservative,
            Tier.BALANCED: self.floor_balanced,
            Tier.AGGRESSIVE: self.floor_aggressive,
        }[tier]


@dataclass(frozen=True, slots=True)
class VolatilityUsed:
    """The volatility of one policy and how it came about, in words."""

    value: float
    source: str


def blend(past: PastVolatility, rules: VolatilityRules) -> float:
    """Root of the weighted mean of the windows' variances."""
    return math.sqrt(
        rules.weight_30d * past.close_to_close_30d**2
        + rules.weight_90d * past.close_to_close_90d**2
        + rules.weight_parkinson * past.parkinson_30d**2
    )


def expected_volatilities(past: PastVolatility, time_years: Array, rules: VolatilityRules) -> Array:
    """Root of the variance expected on average over each of `time_years` > 0, from EWMA now to the blend in the long
    run.
    """
    if not bool((np.isfinite(time_years) & (time_years > 0.0)).all()):
        raise PricingError("time_years must be finite and positive")
    usual, now = blend(past, rules) ** 2, past.ewma**2
    decays = math.log(2.0) / rules.half_life_days * _DAYS_PER_YEAR * time_years
    return np.asarray(np.sqrt(usual + (now - usual) * -np.expm1(-decays) / decays))


def expected_volatility(past: PastVolatility, time_years: float, rules: VolatilityRules) -> float:
    """As `expected_volatilities`, of one time."""
    return float(expected_volatilities(past, np.array([time_years]), rules)[0])


def volatility_used(
    past: PastVolatility, tier: Tier, spot: float, strike: float, time_years: float, rules: VolatilityRules
) -> VolatilityUsed:
    """What a policy of these terms is priced with; `spot` and `strike` in USD per BTC, positive."""
    expected = expected_volatility(past, time_years, rules)
    floor = rules.floor(tier)
    basis = max(expected, floor)
    fall = math.log(check_positive("spot", spot) / check_positive("strike", strike))
    deviations = min(max(fall / (basis * math.sqrt(time_years)), 0.0), _MOST_DEVIATIONS)
    lift = 1.0 + rules.skew * deviations
    source = f"EWMA {past.ewma:.1%} towards {blend(past, rules):.1%} over the policy's time: {expected:.1%}"
    if floor > expected:
        source += f", below the floor of {floor:.0%} of {tier.name}, which is used"
    if lift > 1.0:
        source += f"; x {lift:.3f} for a strike {deviations:.1f} standard deviations below the spot"
    return VolatilityUsed(basis * lift, source)

"""How the model value of a whole policy moves with its market: the Greeks, in units that people use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kernel import pricing
from kernel.units import SATS_PER_BTC, USD_E8, Token

_BLOCKS_PER_DAY: Final = 144
_PERCENT: Final = 0.01


@dataclass(frozen=True)
class Sensitivities:
    """Changes of the American model value of a whole policy, rounded to the nearest; figures for people, never paid.

    `spot_delta_sats`: per USD of the BTC price, so an amount of BTC; negative where the value rises as BTC falls.
    `spot_delta_sats_per_percent`: of that, when BTC rises by 1%. `volatility_delta_usd_e8`: for one percentage point
    more of volatility. `day_delta_usd_e8`: for 144 blocks that pass.
    """

    spot_delta_sats: int
    spot_delta_sats_per_percent: int
    volatility_delta_usd_e8: int
    day_delta_usd_e8: int


def sensitivities(token: Token, amount_sats: int, breakdown: Mapping[str, Any]) -> Sensitivities:
    """Those at the market of a quote, from the record of how its premium was made."""
    spot = breakdown["btc_price_usd_e8"] / USD_E8
    greeks = pricing.american_greeks(
        pricing.PolicyTerms(token, breakdown["strike_price_usd_e8"] / USD_E8, breakdown["floor_price_usd_e8"] / USD_E8),
        spot,
        breakdown["volatility"],
        breakdown["rate"],
        pricing.years_from_blocks(breakdown["duration_blocks"]),
    )
    usd_e8_per_btc_usd = amount_sats / SATS_PER_BTC * USD_E8
    return Sensitivities(
        spot_delta_sats=round(greeks.delta * amount_sats),
        spot_delta_sats_per_percent=round(greeks.gamma * _PERCENT * spot * amount_sats),
        volatility_delta_usd_e8=round(greeks.vega * _PERCENT * usd_e8_per_btc_usd),
        day_delta_usd_e8=round(greeks.theta * pricing.years_from_blocks(_BLOCKS_PER_DAY) * usd_e8_per_btc_usd),
    )

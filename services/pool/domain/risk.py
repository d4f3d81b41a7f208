"""What the open policies of a tier could take, what moves that, and what a person should hear of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from kernel.pricing import PastVolatility, mark_american_greeks
from kernel.pricing.amounts import exact_sum
from kernel.pricing.policy import BURN_BLOCKS_PER_YEAR
from kernel.units import BPS, SATS_PER_BTC, USD_E8, bps_of_up
from services.pool.domain.book import RATE, Book
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices, net_assets

STRESS_FALLS_BPS: Final = (1_000, 2_000, 3_000, 5_000)
_BLOCKS_PER_DAY: Final = 144
_PERCENT: Final = 0.01
# When a person should hear of a tier, see ADR 0029: so much of what it may pledge is taken, ...
NEAR_BOUND_BPS: Final = 9_000
# ... or so much of its capital would be paid after this fall.
WATCHED_FALL_BPS: Final = 3_000
DEEP_LOSS_BPS: Final = 5_000


class RiskAlert(enum.StrEnum):
    """What a person should look at; stable."""

    TIER_CLOSED = "TIER_CLOSED"
    TIER_NEAR_BOUND = "TIER_NEAR_BOUND"
    DEEP_STRESS_LOSS = "DEEP_STRESS_LOSS"
    NOT_COVERED = "NOT_COVERED"


@dataclass(frozen=True)
class Stress:
    """What the open policies would take if BTC, and STX with it, fell by `fall_bps`; base units.

    `model_value`: what they would be worth then, each at most its collateral; None without a volatility.
    """

    fall_bps: int
    payouts: int
    net_assets: int
    model_value: int | None = None


@dataclass(frozen=True)
class Exposure:
    """The open policies at the model, each at most its collateral; figures for people, never paid.

    `model_value`: base units. Changes of the whole in dollars: `spot_delta_sats` per USD of the BTC price, so an amount
    of BTC; `spot_delta_sats_per_percent` of that, when BTC rises by 1%; `volatility_delta_usd_e8` for one percentage
    point more of volatility; `day_delta_usd_e8` for 144 blocks that pass.
    """

    model_value: int
    spot_delta_sats: int
    spot_delta_sats_per_percent: int
    volatility_delta_usd_e8: int
    day_delta_usd_e8: int


def stresses(books: TierBooks, book: Book, prices: Prices, burn_height: int) -> tuple[Stress, ...]:
    """The stress table of one tier and token: payouts to the base unit, worth as who joins would count it."""
    table = []
    for fall in STRESS_FALLS_BPS:
        fallen = prices.fallen(fall)
        paid = exact_sum(book.payouts(fallen))
        worth = book.claims_when_joining(fallen, prices.volatility, burn_height) if prices.volatility else None
        table.append(Stress(fall, paid, net_assets(books.total, paid), worth))
    return tuple(table)


def exposure(book: Book, prices: Prices, past: PastVolatility, burn_height: int) -> Exposure:
    """The model value and its Greeks, as `Book.model_values` marks them."""
    spot = prices.btc_e8 / USD_E8
    greeks = mark_american_greeks(book.portfolio(burn_height), spot, book.volatilities(past, burn_height), RATE)
    sizes = book.amount_sats / SATS_PER_BTC
    return Exposure(
        model_value=book.claims_when_joining(prices, past, burn_height),
        spot_delta_sats=round(float(greeks.delta @ sizes) * SATS_PER_BTC),
        spot_delta_sats_per_percent=round(float(greeks.gamma @ sizes) * _PERCENT * spot * SATS_PER_BTC),
        volatility_delta_usd_e8=round(float(greeks.vega @ sizes) * _PERCENT * USD_E8),
        day_delta_usd_e8=round(float(greeks.theta @ sizes) * _BLOCKS_PER_DAY / BURN_BLOCKS_PER_YEAR * USD_E8),
    )


def alerts(books: TierBooks, utilization_max_bps: int, table: tuple[Stress, ...]) -> frozenset[RiskAlert]:
    """What a person should hear of; `table` is empty while there are no prices."""
    found = set()
    taken, bound = books.locked + books.reserved, bps_of_up(books.total, utilization_max_bps)
    if books.is_closed(utilization_max_bps):
        found.add(RiskAlert.TIER_CLOSED)
    elif taken * BPS >= bound * NEAR_BOUND_BPS and taken:
        found.add(RiskAlert.TIER_NEAR_BOUND)
    watched = sum(row.payouts for row in table if row.fall_bps == WATCHED_FALL_BPS)
    if watched and watched * BPS >= books.total * DEEP_LOSS_BPS:
        found.add(RiskAlert.DEEP_STRESS_LOSS)
    if books.total < books.locked:
        found.add(RiskAlert.NOT_COVERED)
    return frozenset(found)

"""How much of a tier is pledged, and what lower prices would cost it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.units import BPS, mul_div_down, mul_div_up
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import OpenPolicy, Prices, intrinsic, net_assets

STRESS_FALLS_BPS: Final = (1_000, 2_000, 3_000, 5_000)


@dataclass(frozen=True)
class Stress:
    """What the open policies would take if BTC, and STX with it, fell by `fall_bps`; base units."""

    fall_bps: int
    payouts: int
    net_assets: int


def utilization_bps(books: TierBooks) -> int:
    """Locked ÷ total, rounded up; 0 for an empty tier."""
    return mul_div_up(books.locked, BPS, books.total) if books.total else 0


def coverage_bps(books: TierBooks) -> int:
    """Total ÷ locked, rounded down; 0 while nothing is locked."""
    return mul_div_down(books.total, BPS, books.locked) if books.locked else 0


def stress_payouts(policies: Sequence[OpenPolicy], prices: Prices) -> tuple[int, ...]:
    """What the policies would take after each fall of STRESS_FALLS_BPS."""
    return tuple(
        sum(intrinsic(policy, fallen) for policy in policies) for fallen in map(prices.fallen, STRESS_FALLS_BPS)
    )


def stresses(books: TierBooks, payouts: Sequence[int]) -> tuple[Stress, ...]:
    """The stress table of one tier and token from the payouts after each fall."""
    return tuple(
        Stress(fall_bps, paid, net_assets(books.total, paid))
        for fall_bps, paid in zip(STRESS_FALLS_BPS, payouts, strict=True)
    )

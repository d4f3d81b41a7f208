"""How much of a tier is pledged."""

from __future__ import annotations

from kernel.units import BPS, mul_div_down, mul_div_up
from services.pool.domain.collateral import TierBooks


def utilization_bps(books: TierBooks) -> int:
    """Locked ÷ total, rounded up; 0 for an empty tier."""
    return mul_div_up(books.locked, BPS, books.total) if books.total else 0


def coverage_bps(books: TierBooks) -> int:
    """Total ÷ locked, rounded down; 0 while nothing is locked."""
    return mul_div_down(books.total, BPS, books.locked) if books.locked else 0

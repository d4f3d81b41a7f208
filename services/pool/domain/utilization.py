"""How much of a tier is pledged; figures for people and gauges, which stop at the largest int64."""

from __future__ import annotations

from kernel.units import BPS, INT64_MAX
from services.pool.domain.collateral import TierBooks


def utilization_bps(books: TierBooks) -> int:
    """Locked ÷ total, rounded up; 0 for an empty tier."""
    return min(-(-books.locked * BPS // books.total), INT64_MAX) if books.total else 0


def coverage_bps(books: TierBooks) -> int:
    """Total ÷ locked, rounded down; 0 while nothing is locked."""
    return min(books.total * BPS // books.locked, INT64_MAX) if books.locked else 0

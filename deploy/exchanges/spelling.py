"""Figures as exchanges write them."""

from __future__ import annotations

import datetime as dt

from services.oracle.domain.history import DailyBar

DAY_SECONDS = 86_400


def usd(price_e8: int) -> str:
    """A price in USD, as text."""
    return f"{price_e8 // 10**8}.{price_e8 % 10**8:08d}"


def prices(bar: DailyBar) -> tuple[str, str, str, str]:
    """Open, high, low, close."""
    return usd(bar.open_usd_e8), usd(bar.high_usd_e8), usd(bar.low_usd_e8), usd(bar.close_usd_e8)


def day_seconds(bar: DailyBar) -> int:
    """Midnight at which a bar begins, in seconds since 1970."""
    return int(dt.datetime.combine(bar.day, dt.time(), dt.UTC).timestamp())


def milliseconds(time: dt.datetime) -> int:
    """Milliseconds since 1970."""
    return int(time.timestamp() * 1000)


def iso(time: dt.datetime) -> str:
    """ISO 8601 with microseconds and Z."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")

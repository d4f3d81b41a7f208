"""A price is judged again when it is read: an old one is never shown as a current one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

from services.oracle.domain.prices import Price, PriceStatus


@dataclass(frozen=True)
class FreshnessRules:
    """Ages in seconds of market time: beyond the first a price is DEGRADED, beyond the second UNAVAILABLE."""

    degraded_after_seconds: int = 300
    unavailable_after_seconds: int = 3600


def judged_at(price: Price, now: dt.datetime, rules: FreshnessRules) -> Price:
    """The price as it may be shown at market time `now`: its status can only get worse, and an UNAVAILABLE one
    shows no price."""
    if price.observe_time is None or price.status is PriceStatus.UNAVAILABLE:
        return price
    age = int((now - price.observe_time).total_seconds() // 1)
    if age > rules.unavailable_after_seconds:
        return dataclasses.replace(
            price,
            status=PriceStatus.UNAVAILABLE,
            reason=f"TOO_OLD: the last price is {age} s old",
            price_usd_e8=0,
            confidence_usd_e8=0,
        )
    if age > rules.degraded_after_seconds:
        reasons = [f"OLD: the last price is {age} s old", price.reason]
        reason = "; ".join(reason for reason in reasons if reason)
        return dataclasses.replace(price, status=PriceStatus.DEGRADED, reason=reason)
    return price

"""A price is judged again when it is read: an old one is never shown as a current one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

from services.oracle.domain.prices import Price, PriceStatus


@dataclass(frozen=True)
class FreshnessRules:
    """Ages in seconds of market time: beyond the first a price is DEGRADED, beyond the second UNAVAILABLE.

    Without news of market time itself for `clock_lost_after_seconds` of wall time every price is DEGRADED.
    """

    degraded_after_seconds: int = 300
    unavailable_after_seconds: int = 3600
    clock_lost_after_seconds: int = 30


def judged_at(price: Price, now: dt.datetime, rules: FreshnessRules, clock_lost_seconds: float = 0.0) -> Price:
    """The price as it may be shown at market time `now`: its status can only get worse, and an UNAVAILABLE one
    shows no price. `clock_lost_seconds` says how long `now` has not been heard of."""
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
    # The reason of an OK price says who believed a jump: no doubt by itself.
    doubts = [price.reason] if price.reason and price.status is not PriceStatus.OK else []
    if age > rules.degraded_after_seconds:
        doubts.insert(0, f"OLD: the last price is {age} s old")
    if clock_lost_seconds > rules.clock_lost_after_seconds:
        doubts.insert(0, f"CLOCK_LOST: no news of market time for {int(clock_lost_seconds)} s")
    if not doubts:
        return price
    return dataclasses.replace(price, status=PriceStatus.DEGRADED, reason="; ".join(doubts))

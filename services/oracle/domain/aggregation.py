"""Observations of several sources to one price: median of the fresh ones after outlier rejection.

The median of all fresh sources lies in the honest sources' range while fewer than half of them lie. Outliers are
those beyond a band around it, so the price (the median of the rest) never leaves that range by more than the
band, and not at all while the honest sources agree within the band.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.units import BPS
from services.oracle.domain.prices import JudgedObservation, Observation, PriceStatus, Rejection


@dataclass(frozen=True)
class AggregationRules:
    """What an OK price takes. Bands and jumps in basis points, ages in seconds of market time.

    The breaker allows `jump_base_bps + jump_per_minute_bps` x minutes since the last OK price; beyond that
    `jump_sources` sources must agree.
    """

    minimum_sources: int = 3
    max_age_seconds: int = 60
    outlier_band_bps: int = 150
    jump_base_bps: int = 300
    jump_per_minute_bps: int = 50
    jump_sources: int = 4


@dataclass(frozen=True)
class Anchor:
    """The last OK price, which the breaker measures jumps from, and the market time of its round."""

    price_usd_e8: int
    time: dt.datetime


@dataclass(frozen=True)
class Aggregate:
    """The outcome; price, confidence 0 and no times when UNAVAILABLE. Confidence: the largest distance of a used
    source from the price."""

    status: PriceStatus
    reason: str
    price_usd_e8: int
    confidence_usd_e8: int
    observe_time: dt.datetime | None
    first_observe_time: dt.datetime | None
    observations: Sequence[JudgedObservation]


def median(prices: Sequence[int]) -> int:
    """The middle price; of an even number the mean of the two middle ones, rounded down. At least one price."""
    ordered = sorted(prices)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def aggregate(
    observations: Sequence[Observation], at: dt.datetime, anchor: Anchor | None, rules: AggregationRules
) -> Aggregate:
    """The price at market time `at`. `anchor` is the last OK price, None before the first."""
    judged = _reject_outliers([_judge(one, observations, at, rules) for one in observations], rules)
    used = [one.observation for one in judged if one.used]
    if not used:
        return Aggregate(PriceStatus.UNAVAILABLE, _why_none(judged), 0, 0, None, None, judged)
    price = median([one.price_usd_e8 for one in used])
    status, reason = _trust(price, len(used), at, anchor, rules)
    return Aggregate(
        status,
        reason,
        price,
        max(abs(one.price_usd_e8 - price) for one in used),
        max(one.observe_time for one in used),
        min(one.observe_time for one in used),
        judged,
    )


def _judge(
    one: Observation, everything: Sequence[Observation], at: dt.datetime, rules: AggregationRules
) -> JudgedObservation:
    rejection = None
    if one.fault is not None:
        rejection = one.fault
    elif one.price_usd_e8 <= 0:
        rejection = Rejection.NOT_POSITIVE
    elif one.observe_time > at:
        rejection = Rejection.FUTURE
    elif at - one.observe_time > dt.timedelta(seconds=rules.max_age_seconds):
        rejection = Rejection.STALE
    elif _is_superseded(one, everything, at):
        rejection = Rejection.SUPERSEDED
    return JudgedObservation(one, rejection)


def _is_superseded(one: Observation, everything: Sequence[Observation], at: dt.datetime) -> bool:
    """One source has one voice: its latest that counts; of equals in time the first that was given."""
    rivals = [r for r in everything if r.source == one.source and _speaks(r, at)]
    return one is not max(rivals, key=lambda rival: rival.observe_time)


def _speaks(one: Observation, at: dt.datetime) -> bool:
    return one.fault is None and one.price_usd_e8 > 0 and one.observe_time <= at


def _reject_outliers(judged: list[JudgedObservation], rules: AggregationRules) -> list[JudgedObservation]:
    fresh = [one.observation.price_usd_e8 for one in judged if one.used]
    if not fresh:
        return judged
    middle = median(fresh)
    return [
        JudgedObservation(one.observation, Rejection.OUTLIER)
        if one.used and exceeds_bps(one.observation.price_usd_e8, middle, rules.outlier_band_bps)
        else one
        for one in judged
    ]


def exceeds_bps(price: int, reference: int, bps: int) -> bool:
    """True if `price` lies more than `bps` basis points of `reference` away from it; exact."""
    return abs(price - reference) * BPS > reference * bps


def _why_none(judged: Sequence[JudgedObservation]) -> str:
    if not judged:
        return "NO_SOURCES: no source has a price"
    counts: dict[str, int] = {}
    for one in judged:
        counts[str(one.rejection)] = counts.get(str(one.rejection), 0) + 1
    return "NO_USABLE_SOURCE: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _trust(
    price: int, used: int, at: dt.datetime, anchor: Anchor | None, rules: AggregationRules
) -> tuple[PriceStatus, str]:
    if used < rules.minimum_sources:
        return PriceStatus.DEGRADED, f"TOO_FEW_SOURCES: {used} usable, {rules.minimum_sources} needed"
    if anchor is not None and used < rules.jump_sources:
        allowed = allowed_jump_bps(at - anchor.time, rules)
        if exceeds_bps(price, anchor.price_usd_e8, allowed):
            return (
                PriceStatus.DEGRADED,
                f"JUMP: more than {allowed} bps since the last OK price, {used} of {rules.jump_sources} sources agree",
            )
    return PriceStatus.OK, ""


def allowed_jump_bps(elapsed: dt.timedelta, rules: AggregationRules) -> int:
    """How far the price may have moved after `elapsed`, in basis points, whole minutes counted down."""
    minutes = max(0, int(elapsed.total_seconds() // 60))
    return rules.jump_base_bps + rules.jump_per_minute_bps * minutes

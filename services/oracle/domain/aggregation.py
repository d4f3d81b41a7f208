"""Observations of several sources to one price: the median of all fresh voices.

The price is the weighted median of every fresh source, also of those that are then called outliers. So it lies in the
honest sources' range whenever honest sources have more than half of the votes, wherever the others are: a median of
what is left after rejection would not. What lies beyond a band around it is rejected, which takes from it all but its
vote: it does not count as a source that agrees. Without enough that agree, or without a majority of votes among them,
there is a price to look at and none to use.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kernel.units import BPS
from services.oracle.domain.prices import JudgedObservation, Observation, PriceStatus, Rejection
from services.oracle.domain.votes import PPM, Voter, VotingRules, plain_votes_ppm, votes_ppm, weighted_median


@dataclass(frozen=True)
class AggregationRules:
    """What an OK price takes. The band in basis points, ages in seconds of market time; `max_ages` by source, where
    a source has one of its own."""

    minimum_sources: int = 3
    max_age_seconds: int = 60
    outlier_band_bps: int = 150
    max_ages: Mapping[str, int] = field(default_factory=dict)
    voting: VotingRules = field(default_factory=VotingRules)

    def max_age(self, source: str) -> dt.timedelta:
        """How old an observation of a source may be."""
        return dt.timedelta(seconds=self.max_ages.get(source, self.max_age_seconds))


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

    @property
    def used(self) -> int:
        """How many sources agree on it."""
        return sum(one.used for one in self.observations)


def aggregate(observations: Sequence[Observation], at: dt.datetime, rules: AggregationRules) -> Aggregate:
    """The price at market time `at`, whatever the last one was: jumps are the breaker's."""
    rejections = [_rejection(one, observations, at, rules) for one in observations]
    fresh = [one for one, rejection in zip(observations, rejections, strict=True) if rejection is None]
    if not fresh:
        return _none([JudgedObservation(one, why) for one, why in zip(observations, rejections, strict=True)])
    voters = [Voter(one.source, one.converted_by) for one in fresh]
    capped = votes_ppm(voters, rules.voting)
    votes = capped or plain_votes_ppm(voters, rules.voting)
    price = weighted_median([one.price_usd_e8 for one in fresh], votes)
    ballot = iter(votes)
    judged = [
        JudgedObservation(one, why) if why is not None else _voice(one, next(ballot), price, rules)
        for one, why in zip(observations, rejections, strict=True)
    ]
    used = [one.observation for one in judged if one.used]
    if not used:
        return _none(judged)
    reason = _doubt(judged, capped is not None, rules)
    return Aggregate(
        PriceStatus.DEGRADED if reason else PriceStatus.OK,
        reason,
        price,
        max(abs(one.price_usd_e8 - price) for one in used),
        max(one.observe_time for one in used),
        min(one.observe_time for one in used),
        judged,
    )


def _rejection(
    one: Observation, everything: Sequence[Observation], at: dt.datetime, rules: AggregationRules
) -> Rejection | None:
    if one.fault is not None:
        return one.fault
    if one.price_usd_e8 <= 0:
        return Rejection.NOT_POSITIVE
    if one.observe_time > at:
        return Rejection.FUTURE
    if at - one.observe_time > rules.max_age(one.source):
        return Rejection.STALE
    return Rejection.SUPERSEDED if _is_superseded(one, everything, at) else None


def _is_superseded(one: Observation, everything: Sequence[Observation], at: dt.datetime) -> bool:
    """One source has one voice: its latest that counts; of equals in time the lowest, whatever their order."""
    rivals = [r for r in everything if r.source == one.source and _speaks(r, at)]
    return one is not max(rivals, key=lambda rival: (rival.observe_time, -rival.price_usd_e8, rival.converted_by))


def _speaks(one: Observation, at: dt.datetime) -> bool:
    return one.fault is None and one.price_usd_e8 > 0 and one.observe_time <= at


def _voice(one: Observation, vote: int, price: int, rules: AggregationRules) -> JudgedObservation:
    far = exceeds_bps(one.price_usd_e8, price, rules.outlier_band_bps)
    return JudgedObservation(one, Rejection.OUTLIER if far else None, vote)


def exceeds_bps(price: int, reference: int, bps: int) -> bool:
    """True if `price` lies more than `bps` basis points of `reference` away from it; exact."""
    return abs(price - reference) * BPS > reference * bps


def _none(judged: Sequence[JudgedObservation]) -> Aggregate:
    return Aggregate(PriceStatus.UNAVAILABLE, _why_none(judged), 0, 0, None, None, judged)


def _why_none(judged: Sequence[JudgedObservation]) -> str:
    if not judged:
        return "NO_SOURCES: no source has a price"
    counts: dict[str, int] = {}
    for one in judged:
        counts[str(one.rejection)] = counts.get(str(one.rejection), 0) + 1
    return "NO_USABLE_SOURCE: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _doubt(judged: Sequence[JudgedObservation], capped: bool, rules: AggregationRules) -> str:
    """Why the price may not decide money; empty if it may."""
    used = [one for one in judged if one.used]
    if len(used) < rules.minimum_sources:
        return f"TOO_FEW_SOURCES: {len(used)} usable, {rules.minimum_sources} needed"
    if not capped:
        return "CONCENTRATED: too few independent sources for the caps on what one may weigh"
    agreeing, everyone = (sum(one.vote_ppm for one in some) for some in (used, judged))
    if 2 * agreeing <= everyone:
        return f"DISAGREEMENT: {agreeing * 100 // PPM}% of the votes agree, more than half needed"
    return ""

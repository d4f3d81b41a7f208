"""Whether a receipt follows from the rounds, and the rounds from the observations, that it is shown with.

An activation: each price is that of the first OK round all of whose observations are later than the request; every
round between is shown, and is not such a one. An expiry: each price is the average of the OK rounds before the burn
block; every other round of the window is shown, and is not OK. A round: its price is the median of the votes. What was
decided by settings of the day (the age of a source, the outlier band, the breaker) is in the stored verdicts and not
judged again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.oracle.domain.prices import (
    Feed,
    JudgedObservation,
    Price,
    PriceStatus,
    Round,
    boundary_time,
    unix_seconds,
)
from services.oracle.domain.twap import expiry_average, rounds_in
from services.oracle.domain.votes import weighted_median

LONGEST_EVIDENCE: Final = 10_000
"""The most rounds of a feed that a receipt is shown with."""


class EvidenceMismatch(ValueError):
    """What is shown contradicts itself or the rules; the message says where."""


@dataclass(frozen=True)
class Evidence:
    """A receipt with what it was made from; prices in USD e8.

    `request_time` is that of an activation, None for an expiry. `passed` are the other rounds between the request, or
    the start of the window, and the last one used.
    """

    prices: Mapping[Feed, int]
    observe_seconds: int
    request_time: dt.datetime | None
    used: Mapping[Feed, Sequence[Round]]
    passed: Mapping[Feed, Sequence[Round]]


def check_evidence(evidence: Evidence, interval_seconds: int) -> Sequence[str]:
    """What was checked, in words; EvidenceMismatch at the first thing that is wrong.

    `interval_seconds` is how far apart the oracle's rounds are.
    """
    said = []
    for feed in Feed:
        for one in (*evidence.used[feed], *evidence.passed[feed]):
            check_round(one, interval_seconds)
        if evidence.request_time is None:
            said.append(_check_average(feed, evidence, interval_seconds))
        else:
            said.append(_check_first(feed, evidence, evidence.request_time, interval_seconds))
    if evidence.request_time is not None:
        latest = max(unix_seconds(_time(one.price)) for feed in Feed for one in evidence.used[feed])
        _expect(
            latest == evidence.observe_seconds, f"the receipt is of {evidence.observe_seconds}, its rounds {latest}"
        )
    return said


def _check_first(feed: Feed, evidence: Evidence, request: dt.datetime, interval_seconds: int) -> str:
    used = evidence.used[feed]
    _expect(len(used) == 1, f"{feed.symbol}: {len(used)} rounds where one decides")
    chosen = used[0].price
    where = f"{feed.symbol} round {chosen.round}"
    _expect(chosen.price_usd_e8 == evidence.prices[feed], f"{where} is not at the receipt's price")
    _expect(_is_later(chosen, request), f"{where} is not OK with all its observations later than the request")
    first = unix_seconds(request) // interval_seconds * interval_seconds + interval_seconds
    between = range(first, chosen.round, interval_seconds)
    _expect(len(between) <= LONGEST_EVIDENCE, f"{where} is {len(between)} rounds after the request")
    passed = _passed(feed, evidence, between)
    for price in passed:
        _expect(not _is_later(price, request), f"{feed.symbol} round {price.round} came first and would decide")
    return f"{where} is the first OK round after the request; {len(passed)} before it were not usable"


def _passed(feed: Feed, evidence: Evidence, expected: Sequence[int]) -> Sequence[Price]:
    """The rounds that did not decide; EvidenceMismatch unless they are exactly these."""
    passed = {one.price.round: one.price for one in evidence.passed[feed]}
    _expect(len(passed) == len(evidence.passed[feed]), f"{feed.symbol}: a passed round is shown twice")
    for number in sorted(passed.keys() ^ set(expected)):
        wrong = "should not be shown" if number in passed else "could have decided and is not shown"
        raise EvidenceMismatch(f"{feed.symbol} round {number} {wrong}")
    return [passed[number] for number in sorted(passed)]


def _is_later(price: Price, request: dt.datetime) -> bool:
    return (
        price.status is PriceStatus.OK and price.first_observe_time is not None and price.first_observe_time > request
    )


def _check_average(feed: Feed, evidence: Evidence, interval_seconds: int) -> str:
    prices = [one.price for one in evidence.used[feed]]
    numbers = [one.round for one in prices]
    _expect(numbers == sorted(set(numbers)), f"{feed.symbol}: rounds are repeated or out of order")
    average = expiry_average(prices, evidence.observe_seconds, interval_seconds)
    if average is None:
        raise EvidenceMismatch(f"{feed.symbol}: the rounds cover too little of the two hours for an average")
    _expect(list(average.rounds) == prices, f"{feed.symbol}: rounds are shown that the average does not use")
    inside = rounds_in(evidence.observe_seconds, average.window_seconds, interval_seconds)
    for price in _passed(feed, evidence, [number for number in inside if number not in set(numbers)]):
        _expect(price.status is not PriceStatus.OK, f"{feed.symbol} round {price.round} is OK and was left out")
    shown, made = evidence.prices[feed], average.price_usd_e8
    _expect(shown == made, f"{feed.symbol}: the rounds average {made}, the receipt says {shown}")
    return f"{feed.symbol} is the average of {len(prices)} rounds over {average.window_seconds} seconds"


def check_round(one: Round, interval_seconds: int) -> None:
    """EvidenceMismatch unless the round's price, times and confidence follow from its observations."""
    price = one.price
    where = f"{price.feed.symbol} round {price.round}"
    _expect(price.round % interval_seconds == 0, f"{where} is at no multiple of {interval_seconds} seconds")
    used = [judged for judged in one.observations if judged.used]
    if price.status is PriceStatus.UNAVAILABLE:
        _expect(price.price_usd_e8 == 0 and not used, f"{where} is UNAVAILABLE with a price")
        return
    _expect(bool(used), f"{where} has no observation that was used")
    for judged in used:
        seen = judged.observation
        sound = seen.price_usd_e8 > 0 and seen.observe_time <= boundary_time(price.round)
        _expect(sound, f"{where}: {seen.source} was used with a price or a time that no rule admits")
    names = [judged.observation.source for judged in used]
    _expect(len(names) == len(set(names)), f"{where}: a source was used twice")
    _check_votes(where, price, one.observations)
    distance = max(abs(judged.observation.price_usd_e8 - price.price_usd_e8) for judged in used)
    _expect(
        price.confidence_usd_e8 == distance, f"{where}: the confidence is {distance}, not {price.confidence_usd_e8}"
    )
    times = [judged.observation.observe_time for judged in used]
    _expect(price.observe_time == max(times), f"{where} has not the time of its latest observation")


def _check_votes(where: str, price: Price, observations: Sequence[JudgedObservation]) -> None:
    # Rounds of releases that did not weigh votes have none stored: each used source had one then.
    weighed = any(judged.vote_ppm for judged in observations)
    votes = [(judged, judged.vote_ppm if weighed else int(judged.used)) for judged in observations]
    voters = [(judged, vote) for judged, vote in votes if vote]
    _expect(all(vote >= 0 for _, vote in votes), f"{where}: a vote is negative")
    _expect(all(vote > 0 for judged, vote in votes if judged.used), f"{where}: a source was used without a vote")
    median = weighted_median([judged.observation.price_usd_e8 for judged, _ in voters], [vote for _, vote in voters])
    _expect(median == price.price_usd_e8, f"{where}: the votes give {median}, not {price.price_usd_e8}")
    agreeing = sum(vote for judged, vote in voters if judged.used)
    majority = 2 * agreeing > sum(vote for _, vote in voters)
    _expect(majority or price.status is not PriceStatus.OK, f"{where} is OK without a majority of its votes")


def _time(price: Price) -> dt.datetime:
    if price.observe_time is None:
        raise EvidenceMismatch(f"{price.feed.symbol} round {price.round} has no time")
    return price.observe_time


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EvidenceMismatch(otherwise)

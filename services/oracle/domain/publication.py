"""When a round goes on chain: the first, one that deviates, or one after a silence; only OK ones."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass

from kernel.units import BPS
from services.oracle.domain.prices import Price, PriceStatus, unix_seconds


class PublicationCause(enum.StrEnum):
    """Why a round is published."""

    FIRST = "FIRST"
    DEVIATION = "DEVIATION"
    HEARTBEAT = "HEARTBEAT"
    REQUESTED = "REQUESTED"


class PublicationState(enum.StrEnum):
    """PENDING takes the feed's one slot until the chain has decided."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class PublicationRules:
    """Deviation that publishes at once, and the longest silence in seconds of market time; how near a published
    round must be to a receipt in burn blocks and price, as the contracts' parameters say; how old the newest
    observation of a round may be when it is published as the latest."""

    deviation_bps: int = 50
    heartbeat_seconds: int = 600
    round_distance_blocks: int = 2
    round_agreement_bps: int = 300
    max_age_seconds: int = 300


def publication_cause(
    newest: Price, last: Price | None, now: dt.datetime, rules: PublicationRules
) -> PublicationCause | None:
    """Why the newest round is to be published at market time `now`, None if it is not. `last` is the newest confirmed
    publication.

    The contract takes as latest only a round that is newer by number, height and observation time.
    """
    if newest.status is not PriceStatus.OK or newest.observe_time is None:
        return None
    if now - newest.observe_time > dt.timedelta(seconds=rules.max_age_seconds):
        return None
    if last is None or last.observe_time is None:
        return PublicationCause.FIRST
    if newest.round <= last.round or newest.burn_height < last.burn_height:
        return None
    if unix_seconds(newest.observe_time) <= unix_seconds(last.observe_time):
        return None
    if abs(newest.price_usd_e8 - last.price_usd_e8) * BPS >= rules.deviation_bps * last.price_usd_e8:
        return PublicationCause.DEVIATION
    if newest.round - last.round >= rules.heartbeat_seconds:
        return PublicationCause.HEARTBEAT
    return None


def agrees(round_price: int, receipt_price: int, rules: PublicationRules) -> bool:
    """True if a round may stand beside a receipt, as the contract compares them; any may beside price 0."""
    if receipt_price == 0:
        return True
    return abs(receipt_price - round_price) * BPS <= round_price * rules.round_agreement_bps


def nearest(prices: Iterable[Price], burn_height: int, receipt_price: int, rules: PublicationRules) -> Price | None:
    """Of rounds the one that fits a receipt best, None if none does.

    Within the distance of its burn height and in agreement with its price; of these the nearest in price, if the
    receipt has one, then in height, then the newest.
    """

    def misfit(one: Price) -> tuple[int, int, int]:
        apart = abs(one.price_usd_e8 - receipt_price) if receipt_price else 0
        return apart, abs(one.burn_height - burn_height), -one.round

    fitting = [
        one
        for one in prices
        if abs(one.burn_height - burn_height) <= rules.round_distance_blocks
        and agrees(one.price_usd_e8, receipt_price, rules)
    ]
    return min(fitting, key=misfit, default=None)

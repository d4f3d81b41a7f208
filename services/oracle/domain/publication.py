"""When a round goes on chain: the first, one that deviates, or one after a silence; only OK ones."""

from __future__ import annotations

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
    """Deviation that publishes at once, and the longest silence in seconds of market time."""

    deviation_bps: int = 50
    heartbeat_seconds: int = 600
    round_distance_blocks: int = 2


def publication_cause(newest: Price, last: Price | None, rules: PublicationRules) -> PublicationCause | None:
    """Why the newest round is to be published, None if it is not. `last` is the newest confirmed publication.

    The contract takes as latest only a round that is newer by number, height and observation time.
    """
    if newest.status is not PriceStatus.OK or newest.observe_time is None:
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


def nearest(published: Iterable[Price], burn_height: int, rules: PublicationRules) -> Price | None:
    """Of published rounds the one nearest to a burn height, the newest of equals; None beyond the distance."""
    near = [one for one in published if abs(one.burn_height - burn_height) <= rules.round_distance_blocks]
    return min(near, key=lambda one: (abs(one.burn_height - burn_height), -one.round), default=None)

"""Whether the price on chain is ours, and near ours."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kernel.units import BPS
from services.oracle.domain.prices import Price, PriceStatus, unix_seconds


class OnchainDoubt(enum.StrEnum):
    """What is wrong with the price on chain: NOT_OURS when no round of ours has this number, or ours has another
    price or time; APART when it is further from our newest OK price than the bound; OLD when nothing newer went on
    chain for too long."""

    NOT_OURS = "NOT_OURS"
    APART = "APART"
    OLD = "OLD"


@dataclass(frozen=True)
class OnchainRules:
    """How far the price on chain may be from ours in basis points of ours, and how old in seconds of market time."""

    difference_bps: int = 200
    max_age_seconds: int = 1_800


@dataclass(frozen=True)
class OnchainPrice:
    """The latest round on chain, times in Unix seconds."""

    round: int
    price_usd_e8: int
    observe_seconds: int


@dataclass(frozen=True)
class OnchainView:
    """A comparison: distance in basis points of our price, rounded up, 0 without an OK price of ours; age in seconds of
    market time; what is wrong."""

    difference_bps: int
    age_seconds: int
    doubts: frozenset[OnchainDoubt]


def compare(
    chain: OnchainPrice, same: Price | None, newest: Price | None, now: int, rules: OnchainRules
) -> OnchainView:
    """The price on chain beside ours. `same` is our round of its number, `newest` our newest OK one."""
    doubts = set()
    if not _is_ours(chain, same):
        doubts.add(OnchainDoubt.NOT_OURS)
    difference, ours = 0, newest.price_usd_e8 if newest is not None else 0
    if ours:
        difference = -(-abs(chain.price_usd_e8 - ours) * BPS // ours)
    if difference > rules.difference_bps:
        doubts.add(OnchainDoubt.APART)
    age = max(0, now - chain.observe_seconds)
    if age > rules.max_age_seconds:
        doubts.add(OnchainDoubt.OLD)
    return OnchainView(difference, age, frozenset(doubts))


def _is_ours(chain: OnchainPrice, same: Price | None) -> bool:
    if same is None or same.status is not PriceStatus.OK or same.observe_time is None:
        return False
    return (same.price_usd_e8, unix_seconds(same.observe_time)) == (chain.price_usd_e8, chain.observe_seconds)

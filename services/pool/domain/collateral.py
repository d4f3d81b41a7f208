"""Capacity: what a tier may still write, and whether a reservation is granted."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kernel.units import BPS, AmountError, Tier, Token, bps_of_down, max_payout, mul_div_up


class ReservationState(enum.StrEnum):
    """Where a reservation stands; HELD ends only by the projector, or by a cancel when nothing was signed."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    REFUSED = "REFUSED"


class Refusal(enum.StrEnum):
    """Why a reservation is refused; stable."""

    NONE = ""
    # Less is left than the policy needs; the tier is at its bound, so that next to nothing is left.
    CAPACITY_EXHAUSTED = "CAPACITY_EXHAUSTED"
    TIER_CLOSED = "TIER_CLOSED"
    TOO_MANY_UNPAID_QUOTES = "TOO_MANY_UNPAID_QUOTES"
    TOO_MANY_UNPAID_QUOTES_IN_TIER = "TOO_MANY_UNPAID_QUOTES_IN_TIER"
    MAX_PAYOUT_MISMATCH = "MAX_PAYOUT_MISMATCH"
    QUOTE_EXPIRED = "QUOTE_EXPIRED"
    POOL_HALTED = "POOL_HALTED"


@dataclass(frozen=True)
class TierBooks:
    """One tier in one token, base units. `reserved` is the sum of HELD reservations; `shares` those issued.

    `queued_shares` are those whose withdrawal was asked for and waits.
    """

    tier: Tier
    token: Token
    free: int
    locked: int
    reserved: int
    shares: int
    queued_shares: int = 0

    @property
    def total(self) -> int:
        """The shareholders' capital, free and pledged; never below zero."""
        return max(self.free + self.locked, 0)

    @property
    def withdrawable(self) -> int:
        """Free capital that no unpaid quote counts on."""
        return max(self.free - self.reserved, 0)

    def available(self, utilization_max_bps: int) -> int:
        """What new policies may still lock within the utilization bound; capital that is asked back backs none."""
        return max(bps_of_down(self.staying, utilization_max_bps) - self.locked - self.reserved, 0)

    @property
    def staying(self) -> int:
        """The total without the part of the shares that wait to leave."""
        return (
            self.total - mul_div_up(self.total, self.queued_shares, self.shares) if self.queued_shares else self.total
        )

    def is_closed(self, utilization_max_bps: int) -> bool:
        """Whether a tier with capital stands at its bound: pledged and reserved reach it, in whole basis points up.

        What is less than a basis point of the capital below the bound can still be given out, but nobody waits for it.
        """
        if self.staying == 0:
            return self.total > 0
        return (self.locked + self.reserved) * BPS > (utilization_max_bps - 1) * self.staying


@dataclass(frozen=True)
class TierParameters:
    """On-chain parameters of a tier that capacity needs."""

    utilization_max_bps: int
    stx_haircut_bps: int


@dataclass(frozen=True)
class ReservationTerms:
    """What a quote would bind. Amounts in base units of `token`, prices USD e8."""

    policy_id: str
    holder: str
    tier: Tier
    token: Token
    amount_sats: int
    strike_e8: int
    floor_e8: int
    stx_price_e8: int
    max_payout: int
    quote_expiration_burn_height: int
    expiration_burn_height: int


@dataclass(frozen=True)
class UnpaidLimits:
    """How many unpaid reservations may be held at once."""

    per_principal: int
    per_tier: int


@dataclass(frozen=True)
class UnpaidCounts:
    """How many unpaid reservations are held now."""

    of_principal: int
    in_tier: int


def collateral_matches(terms: ReservationTerms, stx_haircut_bps: int) -> bool:
    """Whether `max_payout` is what the contract will compute from the same terms, and more than nothing."""
    try:
        expected = max_payout(
            terms.token, terms.amount_sats, terms.strike_e8, terms.floor_e8, terms.stx_price_e8, stx_haircut_bps
        )
    except AmountError:
        return False
    return expected == terms.max_payout > 0


def judge_reservation(
    terms: ReservationTerms,
    books: TierBooks,
    counts: UnpaidCounts,
    limits: UnpaidLimits,
    parameters: TierParameters,
    projected_burn_height: int,
) -> Refusal:
    """Why the reservation is refused; Refusal.NONE to hold it."""
    if not collateral_matches(terms, parameters.stx_haircut_bps):
        return Refusal.MAX_PAYOUT_MISMATCH
    if projected_burn_height >= terms.quote_expiration_burn_height:
        return Refusal.QUOTE_EXPIRED
    if counts.of_principal >= limits.per_principal:
        return Refusal.TOO_MANY_UNPAID_QUOTES
    if counts.in_tier >= limits.per_tier:
        return Refusal.TOO_MANY_UNPAID_QUOTES_IN_TIER
    if terms.max_payout > books.available(parameters.utilization_max_bps):
        is_closed = books.is_closed(parameters.utilization_max_bps)
        return Refusal.TIER_CLOSED if is_closed else Refusal.CAPACITY_EXHAUSTED
    return Refusal.NONE

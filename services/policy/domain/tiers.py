"""Tiers: which terms each admits, and into which a request is put.

What is offered is narrower than what the contract admits by the price move that it tolerates, on both sides of the
strike, so that a quote can still be paid when the published price differs from the quote's spot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kernel.errors import FailedPrecondition, FieldViolation, InvalidArgument
from kernel.units import BPS, Tier, Token, mul_div_down, mul_div_up
from services.policy.domain.errors import Reason


@dataclass(frozen=True)
class Terms:
    """What a holder asks for: sats, USD e8 per BTC, burn blocks."""

    protected_amount_sats: int
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    token: Token
    duration_blocks: int
    auto_settle: bool


@dataclass(frozen=True)
class TierBounds:
    """Bounds of one tier as the contract has them: K/P and F/K in basis points, duration in burn blocks."""

    tier: Tier
    strike_min_bps: int
    strike_max_bps: int
    floor_min_bps: int
    floor_max_bps: int
    duration_min_blocks: int
    duration_max_blocks: int
    stx_haircut_bps: int
    loading_bps: int


@dataclass(frozen=True)
class Admission:
    """The tier of a request, and why that one."""

    bounds: TierBounds
    reason: str


@dataclass(frozen=True)
class Range:
    """Inclusive bounds; empty if `least` is above `most`."""

    least: int
    most: int

    def clamp(self, value: int) -> int:
        """The nearest value inside."""
        return min(max(value, self.least), self.most)

    def distance_bps(self, value: int) -> int:
        """How far outside, relative to the bound that is missed; zero inside."""
        bound = self.clamp(value)
        return abs(value - bound) * BPS // max(bound, 1)


@dataclass(frozen=True)
class Failure:
    """One bound of a tier that a request misses."""

    field: str
    reason: Reason
    value: int
    passes: Range


_FIELDS: Final[Mapping[str, tuple[Reason, Callable[[Terms], int]]]] = {
    "strike_price_usd_e8": (Reason.STRIKE_OUT_OF_BOUNDS, lambda terms: terms.strike_price_usd_e8),
    "floor_price_usd_e8": (Reason.FLOOR_OUT_OF_BOUNDS, lambda terms: terms.floor_price_usd_e8),
    "duration_blocks": (Reason.DURATION_OUT_OF_BOUNDS, lambda terms: terms.duration_blocks),
}


def offered_strikes(bounds: TierBounds, spot_e8: int, move_bps: int) -> Range:
    """Strikes that the tier offers at this spot."""
    least_bps, most_bps = bounds.strike_min_bps + move_bps, bounds.strike_max_bps - move_bps
    return Range(mul_div_up(spot_e8, least_bps, BPS), mul_div_down(spot_e8, max(most_bps, 0), BPS))


def offered_floors(bounds: TierBounds, strike_e8: int, spot_e8: int, move_bps: int) -> Range:
    """Floors that the tier offers for a strike; the floor must also stay below the published price."""
    below_price = mul_div_up(spot_e8, BPS - move_bps, BPS) - 1
    most = min(mul_div_down(strike_e8, bounds.floor_max_bps, BPS), below_price, strike_e8 - 1)
    return Range(max(mul_div_up(strike_e8, bounds.floor_min_bps, BPS), 1), most)


def failures(bounds: TierBounds, terms: Terms, spot_e8: int, move_bps: int) -> list[Failure]:
    """Every bound of the tier that the terms miss, with what would pass."""
    ranges = {
        "strike_price_usd_e8": offered_strikes(bounds, spot_e8, move_bps),
        "floor_price_usd_e8": offered_floors(bounds, terms.strike_price_usd_e8, spot_e8, move_bps),
        "duration_blocks": Range(bounds.duration_min_blocks, bounds.duration_max_blocks),
    }
    found = []
    for field, (reason, read) in _FIELDS.items():
        value = read(terms)
        if ranges[field].clamp(value) != value:
            found.append(Failure(field, reason, value, ranges[field]))
    return found


def nearest_passing(bounds: TierBounds, terms: Terms, spot_e8: int, move_bps: int) -> Terms | None:
    """The terms moved just inside the tier; None if at this spot the tier offers nothing."""
    strikes = offered_strikes(bounds, spot_e8, move_bps)
    strike = strikes.clamp(terms.strike_price_usd_e8)
    floors = offered_floors(bounds, strike, spot_e8, move_bps)
    durations = Range(bounds.duration_min_blocks, bounds.duration_max_blocks)
    if any(offered.least > offered.most for offered in (strikes, floors, durations)):
        return None
    return replace(
        terms,
        strike_price_usd_e8=strike,
        floor_price_usd_e8=floors.clamp(terms.floor_price_usd_e8),
        duration_blocks=durations.clamp(terms.duration_blocks),
    )


def admit(tiers: list[TierBounds], terms: Terms, spot_e8: int, move_bps: int) -> Admission:
    """The tightest tier that admits the terms. InvalidArgument names the bounds missed and terms that pass."""
    missed: list[str] = []
    for bounds in sorted(tiers, key=lambda bounds: bounds.tier):
        missing = failures(bounds, terms, spot_e8, move_bps)
        if not missing:
            return Admission(bounds, _why(bounds, terms, spot_e8, missed))
        missed.append(f"{bounds.tier.name} does not admit its {_names(missing)}")
    raise _refusal(tiers, terms, spot_e8, move_bps)


def _names(missing: list[Failure]) -> str:
    return " and ".join(failure.field.removesuffix("_usd_e8").replace("_", " ") for failure in missing)


def _why(bounds: TierBounds, terms: Terms, spot_e8: int, missed: list[str]) -> str:
    strike_bps = terms.strike_price_usd_e8 * BPS // spot_e8
    floor_bps = terms.floor_price_usd_e8 * BPS // terms.strike_price_usd_e8
    figures = (
        f"strike {strike_bps / 100:.2f}% of spot, floor {floor_bps / 100:.2f}% of strike, "
        f"{terms.duration_blocks} blocks"
    )
    tightest = "; ".join(missed) or "no tier is tighter"
    return f"{bounds.tier.name} is the tightest tier that admits {figures}: {tightest}"


def _refusal(tiers: list[TierBounds], terms: Terms, spot_e8: int, move_bps: int) -> Exception:
    candidates = []
    for bounds in tiers:
        passing = nearest_passing(bounds, terms, spot_e8, move_bps)
        if passing is not None:
            missing = failures(bounds, terms, spot_e8, move_bps)
            distance = sum(failure.passes.distance_bps(failure.value) for failure in missing)
            candidates.append((len(missing), distance, bounds.tier, missing, passing))
    if not candidates:
        return FailedPrecondition(Reason.NO_TIER_OFFERED, "no tier offers policies at this price")
    _, _, tier, missing, passing = min(candidates, key=lambda candidate: candidate[:3])
    return _out_of_bounds(tier, missing, passing)


def _out_of_bounds(tier: Tier, missing: list[Failure], passing: Terms) -> InvalidArgument:
    violations = []
    for failure in missing:
        passes = _FIELDS[failure.field][1](passing)
        description = f"{failure.value} is outside {tier.name}, the nearest tier; {passes} would pass"
        if failure.passes.least <= failure.passes.most:
            description += f" ({failure.passes.least} to {failure.passes.most} are offered)"
        violations.append(FieldViolation(f"terms.{failure.field}", description))
    return InvalidArgument(
        missing[0].reason,
        f"no tier admits these terms; nearest is {tier.name}: "
        + "; ".join(violation.description for violation in violations),
        *violations,
        tier=tier.name,
        passing_strike_price_usd_e8=passing.strike_price_usd_e8,
        passing_floor_price_usd_e8=passing.floor_price_usd_e8,
        passing_duration_blocks=passing.duration_blocks,
    )

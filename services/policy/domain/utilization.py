"""What scarce capital adds to a premium: a loading that grows with the utilization of the tier.

Nothing below a kink, and from there with the square of the way to the tier's bound. A policy is charged the mean over
the capital that it takes, so that it costs the same in one piece or in many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from kernel.errors import InvalidArgument
from kernel.pricing import PricingError
from kernel.units import AmountError, bps_of_down, check_amount, fee
from services.policy.domain.errors import Reason
from services.policy.domain.parameters import Parameters
from services.policy.domain.quote import Quote, Room, price_in_token

_KINK_BOUNDS_BPS: Final = (0, 9_900)
_MOST_BOUNDS_BPS: Final = (0, 10_000)


@dataclass(frozen=True)
class UtilizationRules:
    """The curve: `kink_bps` of the tier's bound are free of it, `most_bps` are added to the loading at the bound."""

    kink_bps: int = 6_000
    most_bps: int = 3_000

    def __post_init__(self) -> None:
        for name, (least, most) in (("kink_bps", _KINK_BOUNDS_BPS), ("most_bps", _MOST_BOUNDS_BPS)):
            if not least <= getattr(self, name) <= most:
                raise PricingError(f"{name} must lie between {least} and {most}: {getattr(self, name)}")


UTILIZATION_RULES: Final = UtilizationRules()


def utilization_loading_bps(
    committed: int, bound: int, max_payout: int, rules: UtilizationRules = UTILIZATION_RULES
) -> int:
    """The loading of a policy that takes `max_payout` > 0 on top of what is committed, rounded up; `most_bps` at most.

    `committed` is locked and reserved, `bound` what the tier may lock in all; base units.
    """
    kink = bps_of_down(bound, rules.kink_bps)
    way = bound - kink
    before, after = (min(max(at - kink, 0), way) for at in (committed, committed + max_payout))
    beyond = max(committed + max_payout - max(bound, committed), 0)
    if way == 0 or beyond == max_payout:
        return rules.most_bps
    # The integral of most x (x / way)^2, and the full loading for what lies beyond the bound.
    charged = rules.most_bps * (after**3 - before**3) + rules.most_bps * beyond * 3 * way**2
    return -(-charged // (3 * way**2 * max_payout))


def charge_utilization(quote: Quote, room: Room | None, parameters: Parameters) -> Quote:
    """The quote with what its tier's utilization adds; the most where the pool did not say (`room` None).

    InvalidArgument where the premium becomes too large.
    """
    added = UTILIZATION_RULES.most_bps
    if room is not None:
        bound = room.committed_base_units + room.available_base_units
        added = utilization_loading_bps(room.committed_base_units, bound, quote.max_payout_base_units)
    if added == 0:
        return quote
    try:
        return _charged(quote, added, parameters["policy.fee-bps"])
    except AmountError as error:
        raise InvalidArgument.of("terms.protected_amount_sats", str(error), Reason.AMOUNT_OUT_OF_RANGE) from error


def _charged(quote: Quote, added: int, fee_bps: int) -> Quote:
    made = quote.breakdown
    american_e8 = made.european_value_usd_e8 + made.early_exercise_value_usd_e8
    loaded = price_in_token(
        quote.terms, quote.market, american_e8, made.loading_bps + added, made.duration_value_usd_e8
    )
    premium = max(loaded, made.premium_base_units)
    breakdown = replace(
        made,
        utilization_loading_bps=added,
        loading_base_units=loaded - made.model_price_base_units,
        premium_base_units=premium,
        fee_base_units=fee(premium, fee_bps),
        minimum_applies=made.minimum_applies and premium > loaded,
    )
    check_amount("premium and fee", breakdown.premium_base_units + breakdown.fee_base_units)
    return replace(quote, breakdown=breakdown)

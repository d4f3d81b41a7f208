"""Quotes: what a policy costs and why. Floats only inside the model; every amount is rounded in kernel.units."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from kernel import pricing, units
from kernel.errors import FailedPrecondition, FieldViolation, InvalidArgument
from kernel.pricing import PastVolatility, VolatilityRules, VolatilityUsed
from kernel.units import USD_E8, Token
from services.policy.domain.errors import Reason, invalid_terms
from services.policy.domain.parameters import Parameters
from services.policy.domain.tiers import Admission, Terms, TierBounds, admit

# Collateral in STX or sBTC earns no dollar interest, so none is discounted: the dearer, safer price.
RATE: Final = 0.0
VOLATILITY_RULES: Final = VolatilityRules()
# A price observed longer ago in market time is not quoted on: one burn block.
MAX_PRICE_AGE_SECONDS: Final = 600


@dataclass(frozen=True)
class Market:
    """What a quote is made from. `published_btc_price_usd_e8` is what the contract will compute with."""

    btc_price_usd_e8: int
    stx_price_usd_e8: int
    btc_round: int
    stx_round: int
    past_volatility: PastVolatility
    published_btc_price_usd_e8: int
    published_stx_price_usd_e8: int


@dataclass(frozen=True)
class Room:
    """What the pool can still write in a tier and token beside what is locked and reserved, base units; closed at the
    tier's bound."""

    available_base_units: int
    is_closed: bool
    committed_base_units: int


@dataclass(frozen=True)
class Breakdown:
    """How a premium is made. Model values in USD e8 per BTC, rounded up; the rest in base units of the token.

    `duration_value_usd_e8` is what a time to expiry longer by a standard deviation would add: a part of the loading.
    """

    btc_price_usd_e8: int
    stx_price_usd_e8: int
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    volatility: float
    volatility_source: str
    rate: float
    duration_blocks: int
    european_value_usd_e8: int
    early_exercise_value_usd_e8: int
    duration_value_usd_e8: int
    loading_bps: int
    model_price_base_units: int
    loading_base_units: int
    premium_base_units: int
    fee_base_units: int
    minimum_applies: bool
    # Added to `loading_bps` where the tier's capital is scarce.
    utilization_loading_bps: int = 0


@dataclass(frozen=True)
class Quote:
    """A price for terms in a market."""

    terms: Terms
    admission: Admission
    market: Market
    max_payout_base_units: int
    breakdown: Breakdown

    @property
    def premium(self) -> int:
        """Premium in base units, without the fee."""
        return self.breakdown.premium_base_units

    @property
    def fee(self) -> int:
        """Platform fee in base units."""
        return self.breakdown.fee_base_units

    @property
    def notional_usd_e8(self) -> int:
        """Size x spot."""
        return units.notional_usd_e8(self.terms.protected_amount_sats, self.market.btc_price_usd_e8)


def check_terms(terms: Terms) -> Terms:
    """The terms if they can make sense in some market; InvalidArgument naming every wrong field."""
    violations = []
    for name in ("protected_amount_sats", "strike_price_usd_e8", "floor_price_usd_e8", "duration_blocks"):
        if getattr(terms, name) <= 0:
            violations.append(FieldViolation(f"terms.{name}", "must be greater than zero"))
    if not violations and terms.floor_price_usd_e8 >= terms.strike_price_usd_e8:
        violations.append(FieldViolation("terms.floor_price_usd_e8", "must be below the strike"))
    if violations:
        text = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
        raise InvalidArgument(Reason.INVALID_TERMS, text, *violations)
    return terms


def make_quote(
    terms: Terms, market: Market, parameters: Parameters, rules: VolatilityRules = VOLATILITY_RULES
) -> Quote:
    """The quote for these terms. InvalidArgument if no tier admits them or an amount is out of range."""
    spot = market.btc_price_usd_e8
    admission = admit(parameters.tiers(), check_terms(terms), spot, parameters.price_move_bps)
    try:
        max_payout = _max_payout(terms, market, admission.bounds)
        breakdown = _breakdown(terms, market, parameters, admission.bounds, max_payout, rules)
        quote = Quote(terms, admission, market, max_payout, breakdown)
        units.check_amount("premium and fee", quote.premium + quote.fee)
        units.check_amount("notional", quote.notional_usd_e8)
    except units.AmountError as error:
        raise InvalidArgument.of("terms.protected_amount_sats", str(error), Reason.AMOUNT_OUT_OF_RANGE) from error
    _check_limit(quote, parameters)
    return quote


def check_premium(quote: Quote, max_token: Token | None, max_base_units: int) -> None:
    """Returns if premium and fee are within what the holder will pay; FailedPrecondition otherwise."""
    if max_token is not quote.terms.token:
        raise InvalidArgument.of("max_premium.token", "must be the settlement token", Reason.INVALID_TERMS)
    if max_base_units <= 0:
        raise InvalidArgument.of("max_premium.base_units", "must be greater than zero", Reason.INVALID_TERMS)
    total = quote.premium + quote.fee
    if total > max_base_units:
        raise FailedPrecondition(
            Reason.PREMIUM_ABOVE_MAX,
            f"premium and fee are {total}, above the maximum of {max_base_units}",
            premium=quote.premium,
            fee=quote.fee,
            max_premium=max_base_units,
        )


def contract_minimum(terms: Terms, market: Market, parameters: Parameters, max_payout: int) -> int:
    """The least premium that the contract accepts at the published price, or at the spot where that is lower."""
    btc = min(market.btc_price_usd_e8, market.published_btc_price_usd_e8)
    stx = min(market.stx_price_usd_e8, market.published_stx_price_usd_e8)
    payout_now = units.payout(
        terms.token,
        terms.protected_amount_sats,
        terms.strike_price_usd_e8,
        terms.floor_price_usd_e8,
        btc,
        stx,
        max_payout,
    )
    return units.minimum_premium(
        payout_now, max_payout, parameters["creation.margin-bps"], parameters["creation.min-rate-bps"]
    )


def _max_payout(terms: Terms, market: Market, bounds: TierBounds) -> int:
    max_payout = units.max_payout(
        terms.token,
        terms.protected_amount_sats,
        terms.strike_price_usd_e8,
        terms.floor_price_usd_e8,
        market.stx_price_usd_e8,
        bounds.stx_haircut_bps,
    )
    if max_payout == 0:
        raise invalid_terms("protected_amount_sats", "too small: the largest payout is zero")
    return max_payout


def _breakdown(
    terms: Terms,
    market: Market,
    parameters: Parameters,
    bounds: TierBounds,
    max_payout: int,
    rules: VolatilityRules,
) -> Breakdown:
    value = _model_value(terms, market, bounds, rules)
    model = price_in_token(terms, market, value.american_e8, 0, 0)
    loaded = price_in_token(terms, market, value.american_e8, bounds.loading_bps, value.duration_e8)
    minimum = contract_minimum(terms, market, parameters, max_payout)
    premium = max(loaded, minimum)
    return Breakdown(
        btc_price_usd_e8=market.btc_price_usd_e8,
        stx_price_usd_e8=market.stx_price_usd_e8 if terms.token is Token.STX else 0,
        strike_price_usd_e8=terms.strike_price_usd_e8,
        floor_price_usd_e8=terms.floor_price_usd_e8,
        volatility=value.volatility.value,
        volatility_source=value.volatility.source,
        rate=RATE,
        duration_blocks=terms.duration_blocks,
        european_value_usd_e8=value.european_e8,
        early_exercise_value_usd_e8=value.american_e8 - value.european_e8,
        duration_value_usd_e8=value.duration_e8,
        loading_bps=bounds.loading_bps,
        model_price_base_units=model,
        loading_base_units=loaded - model,
        premium_base_units=premium,
        fee_base_units=units.fee(premium, parameters["policy.fee-bps"]),
        minimum_applies=minimum > loaded,
    )


@dataclass(frozen=True)
class _ModelValue:
    """USD e8 per BTC, rounded up; `duration_e8` is what a longer time to expiry would add to `american_e8`."""

    volatility: VolatilityUsed
    european_e8: int
    american_e8: int
    duration_e8: int


def _model_value(terms: Terms, market: Market, bounds: TierBounds, rules: VolatilityRules) -> _ModelValue:
    strike, spot = terms.strike_price_usd_e8 / USD_E8, market.btc_price_usd_e8 / USD_E8
    policy = pricing.PolicyTerms(terms.token, strike, terms.floor_price_usd_e8 / USD_E8)
    years = pricing.years_from_blocks(terms.duration_blocks)
    used = pricing.volatility_used(market.past_volatility, bounds.tier, spot, strike, years, rules)
    longer = years * (1.0 + pricing.time_deviation(terms.duration_blocks))
    value, value_if_longer = pricing.value_policy_at(policy, spot, used.value, RATE, (years, longer))
    american = units.usd_e8_from_float(value.american)
    return _ModelValue(
        volatility=used,
        european_e8=min(units.usd_e8_from_float(value.european), american),
        american_e8=american,
        duration_e8=max(units.usd_e8_from_float(value_if_longer.american) - american, 0),
    )


def price_in_token(terms: Terms, market: Market, value_e8: int, loading_bps: int, extra_e8: int) -> int:
    """(Value per BTC x (1 + loading) + extra per BTC) x size in base units of the settlement token, rounded up."""
    usd = units.premium_usd_e8(value_e8, terms.protected_amount_sats, loading_bps, extra_e8)
    return units.premium_base_units(terms.token, usd, market.btc_price_usd_e8, market.stx_price_usd_e8)


def _check_limit(quote: Quote, parameters: Parameters) -> None:
    limit = parameters.policy_limit(quote.terms.token)
    if quote.max_payout_base_units > limit:
        passing = units.largest_amount_sats(
            quote.terms.token,
            quote.terms.strike_price_usd_e8,
            quote.terms.floor_price_usd_e8,
            quote.market.stx_price_usd_e8,
            quote.admission.bounds.stx_haircut_bps,
            limit,
        )
        raise InvalidArgument(
            Reason.ABOVE_POLICY_LIMIT,
            f"the largest payout of one policy is {limit}; {passing} sats would pass",
            FieldViolation("terms.protected_amount_sats", f"at most {passing} for this strike and floor"),
            limit=limit,
            passing_protected_amount_sats=passing,
        )


def breakdown_values(breakdown: Breakdown) -> dict[str, object]:
    """The breakdown as plain values, for the record of the policy."""
    return dataclasses.asdict(breakdown)

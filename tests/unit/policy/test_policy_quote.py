"""Quotes: tiers, rounding, and what the contract will accept."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel import units
from kernel.errors import BitHedgeError, FailedPrecondition, InvalidArgument
from kernel.pricing import PastVolatility
from kernel.units import BPS, Tier, Token
from services.policy.domain.errors import Reason
from services.policy.domain.parameters import Parameters
from services.policy.domain.quote import Market, Quote, check_premium, check_terms, make_quote
from services.policy.domain.tiers import Terms, admit, failures, nearest_passing
from tests.integration.policy.stand_ins import PARAMETERS

USD = units.USD_E8
LIMITLESS = {"issuance.max-per-policy-stx": units.INT64_MAX, "issuance.max-per-policy-sbtc": units.INT64_MAX}
ON_CHAIN = Parameters(PARAMETERS | LIMITLESS)
MOVE = ON_CHAIN.price_move_bps
SPOTS = st.integers(10_000 * USD, 500_000 * USD)
ANY_TERMS = st.builds(
    Terms,
    protected_amount_sats=st.integers(1_000, 100 * units.SATS_PER_BTC),
    strike_price_usd_e8=st.integers(1, 1_000_000 * USD),
    floor_price_usd_e8=st.integers(1, 1_000_000 * USD),
    token=st.sampled_from(Token),
    duration_blocks=st.integers(1, 20_000),
    auto_settle=st.booleans(),
)


@st.composite
def markets(draw: st.DrawFn, published_move_bps: int = 50) -> Market:
    """A market whose published prices lie within the publisher's deviation of the spot."""
    btc, stx = draw(SPOTS), draw(st.integers(USD // 10, 20 * USD))
    published = st.integers(BPS - published_move_bps, BPS + published_move_bps)
    return Market(
        btc_price_usd_e8=btc,
        stx_price_usd_e8=stx,
        btc_round=1,
        stx_round=1,
        past_volatility=PastVolatility(*(draw(st.floats(0.1, 2.0)) for _ in range(4))),
        published_btc_price_usd_e8=btc * draw(published) // BPS,
        published_stx_price_usd_e8=stx * draw(published) // BPS,
    )


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    """A quote for terms that some tier admits."""
    market, bounds = draw(markets()), draw(st.sampled_from(ON_CHAIN.tiers()))
    terms = nearest_passing(bounds, draw(ANY_TERMS), market.btc_price_usd_e8, MOVE)
    assert terms is not None
    try:
        return make_quote(terms, market, ON_CHAIN)
    except InvalidArgument as error:
        assume(error.reason not in (Reason.INVALID_TERMS, Reason.AMOUNT_OUT_OF_RANGE))
        raise


@given(quotes())
def test_a_quote_passes_the_contract_at_the_published_price(quote: Quote) -> None:
    """The contract's own comparisons hold at the published prices and at the spot, without rounding."""
    terms, market, bounds = quote.terms, quote.market, quote.admission.bounds
    for btc, stx in (
        (market.published_btc_price_usd_e8, market.published_stx_price_usd_e8),
        (market.btc_price_usd_e8, market.stx_price_usd_e8),
    ):
        assert bounds.strike_min_bps * btc <= terms.strike_price_usd_e8 * BPS <= bounds.strike_max_bps * btc
        assert terms.floor_price_usd_e8 < btc
        payout = units.payout(
            terms.token,
            terms.protected_amount_sats,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            btc,
            stx,
            quote.max_payout_base_units,
        )
        needed = payout * (BPS - ON_CHAIN["creation.margin-bps"])
        needed += quote.max_payout_base_units * ON_CHAIN["creation.min-rate-bps"]
        assert quote.premium * BPS >= needed
    floor_bps = terms.floor_price_usd_e8 * BPS
    strike = terms.strike_price_usd_e8
    assert bounds.floor_min_bps * strike <= floor_bps <= bounds.floor_max_bps * strike


@given(quotes())
def test_the_items_of_a_premium_add_up_and_round_up(quote: Quote) -> None:
    """Model price, loading, premium and fee are each at least their exact value, and less than a unit too much."""
    parts, terms, market = quote.breakdown, quote.terms, quote.market
    value = parts.european_value_usd_e8 + parts.early_exercise_value_usd_e8
    price = market.btc_price_usd_e8 if terms.token is Token.SBTC else market.stx_price_usd_e8
    scale = units.SATS_PER_BTC if terms.token is Token.SBTC else units.USTX_PER_STX
    usd = Fraction(value * terms.protected_amount_sats, units.SATS_PER_BTC)
    longer = Fraction(parts.duration_value_usd_e8 * terms.protected_amount_sats, units.SATS_PER_BTC)
    loaded = usd * (BPS + parts.loading_bps) / BPS + longer
    # USD are rounded up to 1e-8 first, then the token.
    slack = Fraction(scale, price) + 1
    assert 0 <= parts.model_price_base_units - usd * scale / price < slack
    assert 0 <= parts.model_price_base_units + parts.loading_base_units - loaded * scale / price < slack
    if not parts.minimum_applies:
        assert quote.premium == parts.model_price_base_units + parts.loading_base_units
    assert 0 <= quote.fee * BPS - quote.premium * ON_CHAIN["policy.fee-bps"] < BPS


@given(ANY_TERMS, SPOTS)
def test_a_refusal_names_a_request_that_passes(terms: Terms, spot: int) -> None:
    """Terms are admitted by the tightest tier that has no failure, or refused with terms that then pass."""
    tiers = ON_CHAIN.tiers()
    admitting = [bounds for bounds in tiers if not failures(bounds, terms, spot, MOVE)]
    if admitting:
        assert admit(tiers, terms, spot, MOVE).bounds == admitting[0]
        return
    with pytest.raises(InvalidArgument) as caught:
        admit(tiers, terms, spot, MOVE)
    said = caught.value.metadata
    passing = dataclasses.replace(
        terms,
        strike_price_usd_e8=int(said["passing_strike_price_usd_e8"]),
        floor_price_usd_e8=int(said["passing_floor_price_usd_e8"]),
        duration_blocks=int(said["passing_duration_blocks"]),
    )
    assert admit(tiers, passing, spot, MOVE).bounds.tier <= Tier[said["tier"]]
    changed = {field.name for field in dataclasses.fields(terms)}
    assert {violation.field.removeprefix("terms.") for violation in caught.value.violations} <= changed


@given(quotes(), st.integers(1, units.BPS - 1))
def test_an_amount_above_the_limit_is_refused_with_the_largest_that_passes(quote: Quote, share_bps: int) -> None:
    """Where the largest payout exceeds what one policy may pledge, the amount named passes, and a sat more does not."""
    limit = units.bps_of_down(quote.max_payout_base_units, share_bps)
    name = f"issuance.max-per-policy-{quote.terms.token.name.lower()}"
    parameters = Parameters({**ON_CHAIN.values, name: limit})
    with pytest.raises(InvalidArgument) as caught:
        make_quote(quote.terms, quote.market, parameters)
    assert caught.value.reason == Reason.ABOVE_POLICY_LIMIT
    passing = int(caught.value.metadata["passing_protected_amount_sats"])
    assume(passing > 0)
    try:
        smaller = make_quote(dataclasses.replace(quote.terms, protected_amount_sats=passing), quote.market, parameters)
    except InvalidArgument as error:
        assume(error.reason != Reason.INVALID_TERMS)  # So little that its payout is no base unit at all.
        raise
    assert smaller.max_payout_base_units <= limit
    one_more = dataclasses.replace(quote.terms, protected_amount_sats=passing + 1)
    with pytest.raises(InvalidArgument):
        make_quote(one_more, quote.market, parameters)


@given(quotes(), st.integers(-5, 5))
def test_the_maximum_is_of_premium_and_fee(quote: Quote, difference: int) -> None:
    """A maximum is enough exactly when it is at least premium and fee together."""
    maximum = quote.premium + quote.fee + difference
    assume(maximum > 0)
    if difference >= 0:
        check_premium(quote, quote.terms.token, maximum)
    else:
        with pytest.raises(FailedPrecondition) as caught:
            check_premium(quote, quote.terms.token, maximum)
        assert caught.value.reason == Reason.PREMIUM_ABOVE_MAX


@given(ANY_TERMS, markets())
def test_any_terms_are_quoted_or_refused_plainly(terms: Terms, market: Market) -> None:
    """No terms break the quote: there is one, with a premium and a payout, or a refusal with a reason."""
    reason = None
    try:
        quote = make_quote(terms, market, ON_CHAIN)
    except BitHedgeError as error:
        reason = error.reason
    if reason is None:
        assert quote.premium > 0
        assert quote.max_payout_base_units > 0
    else:
        assert reason in set(Reason)


@pytest.mark.parametrize("field", ["protected_amount_sats", "strike_price_usd_e8", "floor_price_usd_e8"])
def test_every_wrong_field_is_named(field: str) -> None:
    """Zero and negative figures are refused by name, all at once."""
    values = {"protected_amount_sats": 1, "strike_price_usd_e8": 2, "floor_price_usd_e8": 1}
    terms = Terms(**(values | {field: -1}), token=Token.STX, duration_blocks=0, auto_settle=True)
    with pytest.raises(InvalidArgument) as caught:
        check_terms(terms)
    assert {violation.field for violation in caught.value.violations} == {f"terms.{field}", "terms.duration_blocks"}


def test_a_missing_parameter_refuses() -> None:
    """Without a parameter of the contract nothing is quoted."""
    with pytest.raises(FailedPrecondition) as caught:
        Parameters({}).tiers()
    assert caught.value.reason == Reason.PARAMETER_MISSING

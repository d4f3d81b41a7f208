"""When a request was made in market time, and the sentences and amounts of a preview."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import FailedPrecondition
from kernel.units import USD_E8, Tier, Token, max_payout
from services.policy.domain.activation import STALE_TIP, KnownTip, check_activatable, market_time_at
from services.policy.domain.policy import Policy
from services.policy.domain.settlement import amount_text, preview, usd
from services.policy.domain.transitions import TERMINAL, PolicyState

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECONDS = st.floats(0, 10_000).map(lambda seconds: dt.timedelta(seconds=seconds))
POLICY = Policy(
    id="0" * 32,
    holder_principal="ST1",
    token=Token.STX,
    tier=Tier.CONSERVATIVE,
    protected_amount_sats=10_000_000,
    strike_price_usd_e8=90_000 * USD_E8,
    floor_price_usd_e8=75_000 * USD_E8,
    btc_price_usd_e8=100_000 * USD_E8,
    stx_price_usd_e8=2 * USD_E8,
    premium_base_units=1,
    fee_base_units=1,
    max_payout_base_units=max_payout(Token.STX, 10_000_000, 90_000 * USD_E8, 75_000 * USD_E8, 2 * USD_E8, 2_000),
    auto_settle=True,
    quote_burn_height=1,
    quote_expiration_burn_height=7,
    expiration_burn_height=145,
    state=PolicyState.ACTIVE,
    create_time=NOW,
    update_time=NOW,
)


@given(SECONDS, SECONDS)
def test_in_production_market_time_is_now(behind: dt.timedelta, unseen: dt.timedelta) -> None:
    """However old the tip is, and whether or not its market time kept running, a request is of this moment."""
    stopped = KnownTip(1, NOW - behind, NOW - behind)
    running = KnownTip(1, NOW, NOW - unseen)
    assert market_time_at(NOW, stopped) == market_time_at(NOW, running) == market_time_at(NOW, None) == NOW


@given(SECONDS, SECONDS)
def test_in_a_replay_market_time_goes_on_from_the_tip(passed: dt.timedelta, ago: dt.timedelta) -> None:
    """A replay of the past goes on at wall speed while no node answers, and never beyond now."""
    market = NOW - dt.timedelta(days=900) - ago
    assert market_time_at(NOW, KnownTip(1, market, NOW - passed)) == market + passed


@given(SECONDS)
def test_a_market_ahead_of_the_wall_stands_as_it_is(ahead: dt.timedelta) -> None:
    """A replay that has run ahead of wall time keeps its own time."""
    market = NOW + dt.timedelta(seconds=1) + ahead
    assert market_time_at(NOW, KnownTip(1, market, NOW)) == market


@given(st.integers(1, 300), st.booleans(), st.sampled_from(PolicyState))
def test_a_request_is_judged_by_the_tip(height: int, stale: bool, state: PolicyState) -> None:
    """In time exactly when ACTIVE and not beyond expiration; only a fresh tip judges, a later tip refuses."""
    policy = dataclasses.replace(POLICY, state=state)
    refreshed = NOW - STALE_TIP - dt.timedelta(seconds=1) if stale else NOW
    tip = KnownTip(height, NOW, refreshed)
    if state is not PolicyState.ACTIVE or height > policy.expiration_burn_height:
        with pytest.raises(FailedPrecondition):
            check_activatable(policy, tip, NOW)
    else:
        assert check_activatable(policy, tip, NOW) is not stale
        assert check_activatable(policy, None, NOW) is False


@given(st.integers(1_000 * USD_E8, 200_000 * USD_E8), st.integers(USD_E8 // 100, 50 * USD_E8))
def test_a_preview_says_what_it_pays(btc: int, stx: int) -> None:
    """The sentence, the flag and the amount agree at any prices, and the cap is never exceeded."""
    found = preview(POLICY, btc, stx, 2_000, None)
    assert found.in_the_money is (found.payout_base_units > 0)
    assert found.in_the_money is (btc < POLICY.strike_price_usd_e8)
    assert found.explanation.startswith("Pays nothing" if not found.in_the_money else "Pays ")
    assert found.payout_base_units <= POLICY.max_payout_base_units
    assert ("largest payout" in found.explanation) is (found.payout_base_units == POLICY.max_payout_base_units)


@given(st.sampled_from(PolicyState), st.integers(-2, 2), st.booleans())
def test_what_is_over_pays_nothing(state: PolicyState, past: int, auto_settle: bool) -> None:
    """An ended policy, or one whose last height has passed without a request, is previewed as what it is."""
    policy = dataclasses.replace(POLICY, state=state, auto_settle=auto_settle)
    found = preview(policy, POLICY.floor_price_usd_e8, USD_E8, 2_000, policy.expiration_burn_height + past)
    if state in TERMINAL:
        assert found.explanation == f"Pays nothing: the policy is {state}."
    elif past > 0 and state in (PolicyState.ACTIVE, PolicyState.EXPIRING):
        assert found.explanation.startswith("Pays nothing: it could be activated up to burn height")
        assert ("average price" in found.explanation) is auto_settle
    else:
        assert found.in_the_money
        return
    assert (found.payout_base_units, found.in_the_money) == (0, False)


def test_figures_are_written_for_people() -> None:
    """Dollars with cents, small prices with four places, amounts in full."""
    assert usd(123_456_789_012_345) == "$1,234,567.89"
    assert usd(199_990_000) == "$1.9999"
    assert amount_text(Token.STX, 1_234_567_890) == "1,234.567890 STX"
    assert amount_text(Token.SBTC, 100_000_001) == "1.00000001 sBTC"

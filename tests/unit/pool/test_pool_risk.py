"""Stress, exposure and alerts of a tier."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel.pricing import PastVolatility
from kernel.units import Tier, Token
from services.pool.domain.book import Book
from services.pool.domain.collateral import TierBooks
from services.pool.domain.risk import STRESS_FALLS_BPS, RiskAlert, Stress, alerts, exposure, stresses
from services.pool.domain.shares import OpenPolicy, Prices, intrinsic
from tests.unit.pool.pool_strategies import E8, open_policies, prices, tokens

PAST = PastVolatility(0.7, 0.7, 0.7, 0.7)
HALF_BITCOIN = OpenPolicy(Token.SBTC, 50_000_000, 60_000 * E8, 45_000 * E8, 16_666_666, 500_000, 1_000, 5_320)
AT = Prices(62_000 * E8, E8)


def books(total: int, locked: int = 0, reserved: int = 0) -> TierBooks:
    """A tier in sBTC."""
    return TierBooks(Tier.BALANCED, Token.SBTC, total - locked, locked, reserved, total)


@given(data=st.data(), token=tokens)
def test_stress_is_the_sum_of_payouts_and_stays_within_the_collateral(data: st.DataObject, token: Token) -> None:
    """Each row is what every policy would take at the fallen prices; no fall costs more than what is locked."""
    at = data.draw(prices)
    policies = data.draw(st.lists(open_policies(token), max_size=4))
    locked = sum(policy.max_payout for policy in policies)
    book = Book.of(token, policies)
    table = stresses(replace(books(2 * locked, locked), token=token), book, replace(at, volatility=PAST), 2_000)
    assert tuple(row.fall_bps for row in table) == STRESS_FALLS_BPS
    for row in table:
        assert row.payouts == sum(intrinsic(policy, at.fallen(row.fall_bps)) for policy in policies) <= locked
        assert row.net_assets == 2 * locked - row.payouts
        assert row.model_value == book.claims_when_joining(at.fallen(row.fall_bps), PAST, 2_000)
        assert row.payouts <= row.model_value <= locked
    assert [row.payouts for row in table] == sorted(row.payouts for row in table)


@settings(max_examples=10)
@given(rise_bps=st.sampled_from([-20, -10, 10, 20]))
def test_exposure_tells_what_a_small_move_does(rise_bps: int) -> None:
    """The value after a small move is the value before with delta and gamma, to a thousandth of the change."""
    book = Book.of(Token.SBTC, [HALF_BITCOIN] * 3)
    found = exposure(book, AT, PAST, 1_000)
    step = AT.btc_e8 * rise_bps // 10_000
    before = int(book.model_values(AT, PAST, 1_000).sum()) * AT.btc_e8 / 1e16
    moved = replace(AT, btc_e8=AT.btc_e8 + step)
    after = int(book.model_values(moved, PAST, 1_000).sum()) * moved.btc_e8 / 1e16
    bend = found.spot_delta_sats_per_percent * rise_bps / 100 / 2
    assert after - before == pytest.approx((found.spot_delta_sats + bend) / 1e8 * step / 1e8, rel=2e-3)
    assert found.spot_delta_sats < 0 < found.spot_delta_sats_per_percent
    assert found.day_delta_usd_e8 < 0 < found.volatility_delta_usd_e8
    assert found.model_value == book.claims_when_joining(AT, PAST, 1_000)


def test_an_empty_book_is_exposed_to_nothing() -> None:
    """No policies: no value, no sensitivity, no payout."""
    book = Book.of(Token.STX, [])
    found = exposure(book, AT, PAST, 1_000)
    assert (found.model_value, found.spot_delta_sats, found.day_delta_usd_e8) == (0, 0, 0)
    assert not any(row.payouts for row in stresses(books(10), book, AT, 1_000))


@given(total=st.integers(0, 10**15), locked=st.integers(0, 10**15), reserved=st.integers(0, 10**15))
@example(total=922_337_203_685_478, locked=1, reserved=0)
@example(total=1, locked=0, reserved=922_337_203_685_478)
def test_a_tier_is_closed_exactly_at_its_bound(total: int, locked: int, reserved: int) -> None:
    """Closed when less than a basis point of its capital is left, by locked and reserved together; else it is open."""
    tier = books(total, min(locked, total), reserved)
    left = total * 8_000 - (tier.locked + reserved) * 10_000
    assert tier.is_closed(8_000) == (total > 0 and left < total)
    assert tier.is_closed(8_000) or total == 0 or tier.available(8_000) * 10_000 > total - 10_000
    assert (RiskAlert.TIER_CLOSED in alerts(tier, 8_000, ())) == tier.is_closed(8_000)


@pytest.mark.parametrize(
    ("tier", "paid", "expected"),
    [
        (books(1_000), 0, set()),
        (books(1_000, 719), 0, set()),
        (books(1_000, 700, 20), 0, {RiskAlert.TIER_NEAR_BOUND}),
        (books(1_000, 800), 0, {RiskAlert.TIER_CLOSED}),
        (books(1_000, 500), 499, set()),
        (books(1_000, 500), 500, {RiskAlert.DEEP_STRESS_LOSS}),
        (books(1_000, 1_001), 0, {RiskAlert.TIER_CLOSED, RiskAlert.NOT_COVERED}),
        (books(0), 0, set()),
    ],
)
def test_alerts_begin_at_their_thresholds(tier: TierBooks, paid: int, expected: set[RiskAlert]) -> None:
    """Each alert begins at its figure and not one unit before."""
    assert alerts(tier, 8_000, (Stress(3_000, paid, 0), Stress(5_000, 1_000, 0))) == expected

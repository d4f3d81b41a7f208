"""Capacity and utilization."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.units import Tier, Token, max_payout
from services.pool.domain.collateral import (
    Refusal,
    ReservationTerms,
    TierBooks,
    TierParameters,
    UnpaidCounts,
    UnpaidLimits,
    judge_reservation,
)
from services.pool.domain.utilization import coverage_bps, utilization_bps
from tests.unit.pool.pool_strategies import E8

_PARAMETERS = TierParameters(utilization_max_bps=8_000, stx_haircut_bps=3_000)
_LIMITS = UnpaidLimits(per_principal=3, per_tier=10)
_NONE = UnpaidCounts(0, 0)
_COLLATERAL = max_payout(Token.STX, E8, 100_000 * E8, 80_000 * E8, 2 * E8, 3_000)
_TERMS = ReservationTerms(
    policy_id="0" * 32,
    holder="SP-HOLDER",
    tier=Tier.BALANCED,
    token=Token.STX,
    amount_sats=E8,
    strike_e8=100_000 * E8,
    floor_e8=80_000 * E8,
    stx_price_e8=2 * E8,
    max_payout=_COLLATERAL,
    quote_expiration_burn_height=106,
    expiration_burn_height=200,
)


def _books(total: int, locked: int = 0, reserved: int = 0) -> TierBooks:
    return TierBooks(Tier.BALANCED, Token.STX, free=total - locked, locked=locked, reserved=reserved, shares=total)


def _judge(
    terms: ReservationTerms = _TERMS, books: TierBooks | None = None, counts: UnpaidCounts = _NONE, height: int = 100
) -> Refusal:
    return judge_reservation(terms, books or _books(10 * _COLLATERAL), counts, _LIMITS, _PARAMETERS, height)


@given(capital=st.integers(0, 10**15), locked=st.integers(0, 10**15), reserved=st.integers(0, 10**15))
def test_capacity_is_exact(capital: int, locked: int, reserved: int) -> None:
    """The last unit within the utilization bound is granted, one more is refused."""
    books = _books(capital, locked, reserved)
    room = books.available(8_000)
    assert room == max(capital * 8_000 // 10_000 - locked - reserved, 0)
    assert room == 0 or utilization_bps(_books(capital, locked + room)) <= 8_000


def test_each_refusal_has_its_own_reason() -> None:
    """Whatever is wrong with a reservation is said by a stable word."""
    least = -(-_COLLATERAL * 10_000 // 8_000)
    assert _judge() is Refusal.NONE
    assert _judge(books=_books(least)) is Refusal.NONE
    assert _judge(books=_books(least - 2)) is Refusal.CAPACITY_EXHAUSTED
    assert _judge(books=_books(least, locked=least)) is Refusal.TIER_CLOSED
    assert _judge(replace(_TERMS, max_payout=_COLLATERAL - 1)) is Refusal.MAX_PAYOUT_MISMATCH
    assert _judge(replace(_TERMS, floor_e8=_TERMS.strike_e8)) is Refusal.MAX_PAYOUT_MISMATCH
    assert _judge(replace(_TERMS, stx_price_e8=0)) is Refusal.MAX_PAYOUT_MISMATCH
    assert _judge(height=106) is Refusal.QUOTE_EXPIRED
    assert _judge(counts=UnpaidCounts(3, 3)) is Refusal.TOO_MANY_UNPAID_QUOTES
    assert _judge(counts=UnpaidCounts(0, 10)) is Refusal.TOO_MANY_UNPAID_QUOTES_IN_TIER


@pytest.mark.parametrize(
    ("locked", "utilization", "coverage"), [(0, 0, 0), (1, 1, 99_999_999), (10_000, 10_000, 10_000)]
)
def test_utilization_and_coverage_are_rounded_to_the_safe_side(locked: int, utilization: int, coverage: int) -> None:
    """Utilization is rounded up, coverage down; both are 0 where nothing is locked."""
    books = _books(10_000 if locked != 1 else 9_999, locked)
    assert utilization_bps(books) == (2 if locked == 1 else utilization)
    assert coverage_bps(books) == (99_990_000 if locked == 1 else coverage)

"""The loading for scarce capital: monotone, bounded, the same in one piece or in many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.pricing import PricingError
from services.policy.domain.quote import Quote, Room
from services.policy.domain.utilization import (
    UTILIZATION_RULES,
    UtilizationRules,
    charge_utilization,
    utilization_loading_bps,
)
from tests.unit.policy.test_policy_quote import ON_CHAIN, quotes

_MOST = UTILIZATION_RULES.most_bps
amounts = st.integers(0, 10**14)
pieces = st.integers(1, 10**13)


@given(committed=amounts, more=amounts, bound=amounts, piece=pieces)
def test_it_never_falls_as_capital_gets_scarce(committed: int, more: int, bound: int, piece: int) -> None:
    """Neither with what is committed nor with the size; between nothing and the most."""
    loading = utilization_loading_bps(committed, bound, piece)
    assert 0 <= loading <= _MOST
    assert utilization_loading_bps(committed + more, bound, piece) >= loading
    assert utilization_loading_bps(committed, bound, piece + more) >= loading


@given(committed=amounts, bound=amounts, first=pieces, second=pieces)
def test_it_costs_the_same_in_one_piece_or_in_many(committed: int, bound: int, first: int, second: int) -> None:
    """But for the rounding up of each piece to a basis point."""
    whole = utilization_loading_bps(committed, bound, first + second) * (first + second)
    parts = (
        utilization_loading_bps(committed, bound, first) * first
        + utilization_loading_bps(committed + first, bound, second) * second
    )
    assert abs(whole - parts) <= first + second


@given(bound=st.integers(100, 10**14), data=st.data())
def test_it_is_nothing_below_the_kink_and_the_most_beyond_the_bound(bound: int, data: st.DataObject) -> None:
    """An idle tier charges none of it."""
    free = bound * UTILIZATION_RULES.kink_bps // 10_000
    committed = data.draw(st.integers(0, free - 1))
    assert utilization_loading_bps(committed, bound, data.draw(st.integers(1, free - committed))) == 0
    assert utilization_loading_bps(bound, bound, data.draw(pieces)) == _MOST


@given(idle=quotes(), committed=amounts, left=amounts)
def test_it_is_an_item_of_the_premium(idle: Quote, committed: int, left: int) -> None:
    """The premium is never below that of an idle tier, nor above it by more than the most; the items add up."""
    charged = charge_utilization(idle, Room(left, is_closed=False, committed_base_units=committed), ON_CHAIN)
    unknown = charge_utilization(idle, None, ON_CHAIN)
    made = charged.breakdown
    assert made.premium_base_units >= made.model_price_base_units + made.loading_base_units
    assert made.minimum_applies or made.premium_base_units == made.model_price_base_units + made.loading_base_units
    assert idle.premium <= charged.premium <= unknown.premium
    assert unknown.premium <= idle.premium + -(-made.model_price_base_units * _MOST // 10_000) + 1
    assert unknown.breakdown.utilization_loading_bps == _MOST
    assert charged.fee >= idle.fee


@pytest.mark.parametrize(("kink", "most"), [(-1, 0), (9_901, 0), (0, -1), (0, 10_001)])
def test_a_curve_out_of_bounds_cannot_be_made(kink: int, most: int) -> None:
    """Both parameters have theirs."""
    with pytest.raises(PricingError):
        UtilizationRules(kink, most)

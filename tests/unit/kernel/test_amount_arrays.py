"""Amounts of many policies at once: the same integers as one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernel.pricing.amounts import exact_sum, mul_div_down_array, payout_array
from kernel.units import Token, mul_div_down, payout
from tests.unit.pool.pool_strategies import open_policies, prices, tokens

# Results stay within 2**62: what the product's amounts never reach.
AMOUNTS = st.integers(0, 2**61)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, st.integers(1, 2**62)), min_size=1, max_size=8))
def test_quotients_of_columns_are_those_of_numbers(rows: list[tuple[int, int, int]]) -> None:
    """Rounded down to the last unit, whatever the sizes: those that a float can tell and those that none can."""
    fitting = [row for row in rows if row[0] * row[1] // row[2] < 2**62]
    first, second, divisor = (np.array([row[place] for row in fitting], dtype=np.int64) for place in range(3))
    expected = [mul_div_down(*row) for row in fitting]
    assert mul_div_down_array(first, second, divisor).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 2**43), st.integers(0, 2**40), st.integers(1, 2**43)), min_size=1, max_size=8))
def test_quotients_of_the_size_of_payouts_are_exact(rows: list[tuple[int, int, int]]) -> None:
    """Where every row is of the size of a payout no row needs Python's integers, and none is off by a unit."""
    fitting = [row for row in rows if row[0] * row[1] // row[2] < 2**50]
    first, second, divisor = (np.array([row[place] for row in fitting], dtype=np.int64) for place in range(3))
    assert mul_div_down_array(first, second, divisor).tolist() == [mul_div_down(*row) for row in fitting]


@given(data=st.data(), token=tokens)
def test_payouts_of_columns_are_those_of_policies(data: st.DataObject, token: Token) -> None:
    """Each policy pays what `kernel.units.payout` says, for both tokens."""
    now = data.draw(prices)
    policies = data.draw(st.lists(open_policies(token), min_size=1, max_size=5))
    amounts, strikes, floors, collateral = np.array([policy[1:5] for policy in policies], dtype=np.int64).T
    paid = payout_array(token, amounts, strikes, floors, now.btc_e8, now.stx_e8, collateral)
    assert paid.tolist() == [payout(token, *policy[1:4], now.btc_e8, now.stx_e8, policy[4]) for policy in policies]


@given(st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_a_sum_does_not_wrap(values: list[int]) -> None:
    """A sum that no int64 holds is exact."""
    assert exact_sum(np.array(values, dtype=np.int64)) == sum(values)

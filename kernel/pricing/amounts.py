"""The rounding rules of `kernel.units` for many amounts at once, to the last base unit."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernel.units import Token

Integers = NDArray[np.int64]

# A float quotient is off by less than this share, and by one for its own rounding.
_FLOAT_ERROR: Final = 2.0**-50
# What the correction of a quotient may be off by and still fit int64.
_ROOM: Final = 2.0**62


def mul_div_down_array(first: Integers, second: Integers, divisor: Integers) -> Integers:
    """As `kernel.units.mul_div_down`, elementwise; operands not negative, divisors positive, results below 2**62.

    The quotient is estimated in floats. What it is off by follows exactly from the low 64 bits of both products, as
    long as it fits them: where it might not, Python's own integers compute.
    """
    first, second, divisor = np.broadcast_arrays(first, second, divisor)
    estimate = first.astype(np.float64) * second / divisor
    if estimate.size == 0:
        return np.zeros(estimate.shape, dtype=np.int64)
    if (float(estimate.max()) * _FLOAT_ERROR + 2.0) * float(divisor.max()) >= _ROOM:
        exact = (first.astype(object) * second) // divisor
        return exact.astype(np.int64)
    quotient = estimate.astype(np.int64)
    quotient += (first * second - quotient * divisor) // divisor
    return quotient


def payout_array(
    token: Token,
    amount_sats: Integers,
    strike_e8: Integers,
    floor_e8: Integers,
    btc_price_e8: int | Integers,
    stx_price_e8: int | Integers,
    max_payout: Integers,
) -> Integers:
    """As `kernel.units.payout`, elementwise, for policies of one token; at most `max_payout` for both tokens.

    Prices are the same for all, or one for each.
    """
    settled = np.minimum(np.maximum(floor_e8, btc_price_e8), strike_e8)
    divisor = settled if token is Token.SBTC else np.full_like(settled, 100 * stx_price_e8)
    return np.minimum(mul_div_down_array(amount_sats, strike_e8 - settled, divisor), max_payout)


def exact_sum(column: Integers) -> int:
    """The sum of a column, which need not fit int64.

    High and low halves are summed apart: each sum of up to 2**31 rows fits, their whole may not.
    """
    return (int((column >> 32).sum()) << 32) + int((column & 0xFFFF_FFFF).sum())

"""Model values of open policies, for those who join and leave.

Marked at the volatility that is expected over each policy's time left, without the tier's floor and the skew: those
are margins of a premium, and a claim that holds a margin would sell shares below their worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kernel.pricing import (
    PastVolatility,
    Portfolio,
    VolatilityRules,
    mark_portfolio,
    years_from_blocks,
)
from kernel.pricing.volatility import expected_volatility
from kernel.units import USD_E8, Token
from services.pool.domain.shares import OpenPolicy, Prices

_RULES: Final = VolatilityRules()
# As premiums are priced.
_RATE: Final = 0.0


def model_values(policies: Sequence[OpenPolicy], prices: Prices, past: PastVolatility, burn_height: int) -> list[int]:
    """American values of policies of one token, base units, rounded down; no more than 5e-6 of spot per BTC off.

    Policies whose times left differ by less than a factor of two share the volatility of the longest of them.
    """
    values = [0] * len(policies)
    classes: dict[int, list[int]] = {}
    for row, policy in enumerate(policies):
        classes.setdefault(max(policy.expiration_burn_height - burn_height, 0).bit_length(), []).append(row)
    for rows in classes.values():
        marked = _mark([policies[row] for row in rows], prices, past, burn_height)
        for row, value in zip(rows, marked, strict=True):
            values[row] = value
    return values


def _mark(policies: Sequence[OpenPolicy], prices: Prices, past: PastVolatility, burn_height: int) -> list[int]:
    left = [max(policy.expiration_burn_height - burn_height, 0) for policy in policies]
    years = years_from_blocks(max(max(left), 1))
    portfolio = Portfolio(
        is_sbtc=np.full(len(policies), policies[0].token is Token.SBTC),
        strike_usd=np.array([policy.strike_e8 for policy in policies], dtype=np.float64) / USD_E8,
        floor_usd=np.array([policy.floor_e8 for policy in policies], dtype=np.float64) / USD_E8,
        time_years=np.array(left, dtype=np.float64) * years_from_blocks(1),
    )
    volatility = expected_volatility(past, years, _RULES)
    american = mark_portfolio(portfolio, prices.btc_e8 / USD_E8, volatility, _RATE).american
    values_e8 = np.floor(american * USD_E8).astype(np.int64).tolist()
    divisor = prices.btc_e8 if policies[0].token is Token.SBTC else 100 * prices.stx_e8
    return [value * policy.amount_sats // divisor for value, policy in zip(values_e8, policies, strict=True)]

"""Pricing of capped puts: floats in USD per BTC; what leaves for an amount is rounded in `kernel.units`."""

from __future__ import annotations

from kernel.pricing.black_scholes import (
    CashOrNothingPut,
    EuropeanPut,
    cash_or_nothing_put,
    european_put,
    implied_volatility,
)
from kernel.pricing.errors import PricingError
from kernel.pricing.policy import (
    BURN_BLOCKS_PER_YEAR,
    PolicyTerms,
    PolicyValue,
    Portfolio,
    PortfolioValue,
    mark_portfolio,
    value_policy,
    years_from_blocks,
)

__all__ = [
    "BURN_BLOCKS_PER_YEAR",
    "CashOrNothingPut",
    "EuropeanPut",
    "PolicyTerms",
    "PolicyValue",
    "Portfolio",
    "PortfolioValue",
    "PricingError",
    "cash_or_nothing_put",
    "european_put",
    "implied_volatility",
    "mark_portfolio",
    "value_policy",
    "years_from_blocks",
]

"""Pricing of capped puts: floats in USD per BTC; what leaves for an amount is rounded in `kernel.units`."""

from __future__ import annotations

from kernel.pricing.black_scholes import (
    CashOrNothingPut,
    EuropeanPut,
    cash_or_nothing_put,
    european_put,
    implied_volatility,
)
from kernel.pricing.duration import time_deviation
from kernel.pricing.errors import PricingError
from kernel.pricing.greeks import (
    Greeks,
    PolicyGreeks,
    american_greeks,
    european_greeks,
    mark_american_greeks,
    mark_european_greeks,
)
from kernel.pricing.policy import (
    BURN_BLOCKS_PER_YEAR,
    PolicyTerms,
    PolicyValue,
    Portfolio,
    PortfolioValue,
    mark_portfolio,
    value_policy,
    value_policy_at,
    years_from_blocks,
)
from kernel.pricing.volatility import (
    PastVolatility,
    VolatilityRules,
    VolatilityUsed,
    expected_volatilities,
    volatility_used,
)

__all__ = [
    "BURN_BLOCKS_PER_YEAR",
    "CashOrNothingPut",
    "EuropeanPut",
    "Greeks",
    "PastVolatility",
    "PolicyGreeks",
    "PolicyTerms",
    "PolicyValue",
    "Portfolio",
    "PortfolioValue",
    "PricingError",
    "VolatilityRules",
    "VolatilityUsed",
    "american_greeks",
    "cash_or_nothing_put",
    "european_greeks",
    "european_put",
    "expected_volatilities",
    "implied_volatility",
    "mark_american_greeks",
    "mark_european_greeks",
    "mark_portfolio",
    "time_deviation",
    "value_policy",
    "value_policy_at",
    "volatility_used",
    "years_from_blocks",
]

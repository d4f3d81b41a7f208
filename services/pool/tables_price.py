"""What a deposit or a withdrawal was priced by: with the books of the moment anyone finds the same price again."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class PriceRecord(SQLModel):
    """Rounds of the oracle and their prices, USD e8; zeros before it is priced."""

    btc_round: int = Field(default=0, sa_type=sa.BigInteger)
    stx_round: int = Field(default=0, sa_type=sa.BigInteger)
    btc_price_e8: int = Field(default=0, sa_type=sa.BigInteger)
    stx_price_e8: int = Field(default=0, sa_type=sa.BigInteger)
    # With the prices these decide what open policies claim: annual volatilities, and the height as of which.
    price_burn_height: int | None = Field(default=None, sa_type=sa.BigInteger)
    volatility_ewma: float | None = Field(default=None, sa_type=sa.Double)
    volatility_30d: float | None = Field(default=None, sa_type=sa.Double)
    volatility_90d: float | None = Field(default=None, sa_type=sa.Double)
    volatility_parkinson: float | None = Field(default=None, sa_type=sa.Double)

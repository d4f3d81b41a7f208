"""Candles, filled by the leader from the rounds that are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"


def upgrade() -> None:
    """Creates the table; the release still running knows nothing of it, and what it stores is folded afterwards."""
    op.create_table(
        "candle",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("span_seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_seconds", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("open_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("high_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("low_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("close_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first_round", sa.BigInteger, nullable=False),
        sa.Column("last_round", sa.BigInteger, nullable=False),
        sa.Column("price_seconds", sa.Numeric(38, 0), nullable=False),
        sa.Column("covered_seconds", sa.BigInteger, nullable=False),
        sa.CheckConstraint("feed IN (1, 2) AND span_seconds IN (60, 300, 3600, 86400)", name="candle_span"),
        sa.CheckConstraint("start_seconds % span_seconds = 0", name="candle_start"),
        sa.CheckConstraint(
            "first_round > start_seconds AND last_round <= start_seconds + span_seconds AND first_round <= last_round",
            name="candle_rounds",
        ),
        sa.CheckConstraint(
            "low_usd_e8 > 0 AND low_usd_e8 <= LEAST(open_usd_e8, close_usd_e8)"
            " AND high_usd_e8 >= GREATEST(open_usd_e8, close_usd_e8)",
            name="candle_prices",
        ),
        sa.CheckConstraint("count > 0 AND covered_seconds > 0 AND price_seconds > 0", name="candle_sums"),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("candle", schema=_SCHEMA)

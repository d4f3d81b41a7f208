"""Requests to activate made on chain: cursor, terms, requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"


def upgrade() -> None:
    """Creates the three tables."""
    op.create_table(
        "cursor",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("cursor", sa.Text, nullable=False),
        schema=_SCHEMA,
    )
    op.create_table(
        "policy_terms",
        sa.Column("policy_id", sa.Text, primary_key=True),
        sa.Column("strike_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("floor_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("protected_amount_sats", sa.BigInteger, nullable=False),
        sa.Column("settlement_token", sa.Integer, nullable=False),
        sa.CheckConstraint(
            "0 < floor_price_usd_e8 AND floor_price_usd_e8 < strike_price_usd_e8", name="policy_terms_prices"
        ),
        sa.CheckConstraint("protected_amount_sats > 0", name="policy_terms_amount"),
        schema=_SCHEMA,
    )
    op.create_table(
        "activation_request",
        sa.Column("policy_id", sa.Text, primary_key=True),
        sa.Column("activation_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("burn_height", sa.BigInteger, nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        schema=_SCHEMA,
    )
    op.create_index(
        "activation_request_open",
        "activation_request",
        ["market_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("outcome = ''"),
    )


def downgrade() -> None:
    """Drops the three tables."""
    for table in ("activation_request", "policy_terms", "cursor"):
        op.drop_table(table, schema=_SCHEMA)

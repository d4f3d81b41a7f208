"""The breaker's memory, overrides by two operators, answers to their requests, votes of observations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Creates the three tables and the column."""
    op.add_column("observation", sa.Column("vote_ppm", sa.Integer), schema=_SCHEMA)
    op.create_table(
        "breaker",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("tripped", sa.Boolean, nullable=False),
        sa.Column("anchor_price_usd_e8", sa.BigInteger),
        sa.Column("anchor_round", sa.BigInteger),
        sa.Column("level_price_usd_e8", sa.BigInteger),
        sa.Column("level_round", sa.BigInteger),
        sa.Column("level_since_round", sa.BigInteger),
        sa.Column("level_rounds", sa.BigInteger),
        sa.CheckConstraint("num_nulls(anchor_price_usd_e8, anchor_round) IN (0, 2)", name="breaker_anchor"),
        sa.CheckConstraint(
            "num_nulls(level_price_usd_e8, level_round, level_since_round, level_rounds) IN (0, 4)",
            name="breaker_level",
        ),
        schema=_SCHEMA,
    )
    op.create_table(
        "request",
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("create_time", _TIME, nullable=False),
        schema=_SCHEMA,
    )
    _overrides()


def _overrides() -> None:
    op.create_table(
        "price_override",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("feed", sa.SmallInteger, nullable=False),
        sa.Column("low_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("high_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("expire_market_time", _TIME, nullable=False),
        sa.Column("proposer", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("propose_time", _TIME, nullable=False),
        sa.Column("propose_market_time", _TIME, nullable=False),
        sa.Column("approver", sa.Text),
        sa.Column("approve_time", _TIME),
        sa.Column("approve_market_time", _TIME),
        sa.Column("canceller", sa.Text),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("cancel_time", _TIME),
        sa.Column("cancel_market_time", _TIME),
        sa.CheckConstraint("approver <> proposer", name="price_override_two_operators"),
        sa.CheckConstraint(
            "0 < low_price_usd_e8 AND low_price_usd_e8 <= high_price_usd_e8", name="price_override_range"
        ),
        sa.CheckConstraint("reason <> '' AND cancel_reason <> ''", name="price_override_reasons"),
        sa.CheckConstraint(
            "num_nulls(approver, approve_time, approve_market_time) IN (0, 3)", name="price_override_approval"
        ),
        sa.CheckConstraint(
            "num_nulls(canceller, cancel_reason, cancel_time, cancel_market_time) IN (0, 4)",
            name="price_override_cancellation",
        ),
        schema=_SCHEMA,
    )
    op.create_index(
        "price_override_in_force",
        "price_override",
        ["expire_market_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("approver IS NOT NULL AND canceller IS NULL"),
    )


def downgrade() -> None:
    """Drops them."""
    for table in ("price_override", "request", "breaker"):
        op.drop_table(table, schema=_SCHEMA)
    op.drop_column("observation", "vote_ppm", schema=_SCHEMA)

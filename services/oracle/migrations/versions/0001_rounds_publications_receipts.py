"""Rounds with their observations, publications, receipts, lease, outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMA = "oracle"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Creates everything."""
    _rounds()
    _publications()
    _receipts()
    _lease_and_outbox()


def _rounds() -> None:
    op.create_table(
        "round",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("round", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("confidence_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("observe_time", _TIME),
        sa.Column("first_observe_time", _TIME),
        sa.Column("burn_height", sa.BigInteger, nullable=False),
        sa.Column("synthetic", sa.Boolean, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.CheckConstraint("feed IN (1, 2)", name="round_feed"),
        sa.CheckConstraint("status IN ('OK', 'DEGRADED', 'UNAVAILABLE')", name="round_status"),
        sa.CheckConstraint(
            "(status = 'UNAVAILABLE') = (price_usd_e8 = 0) AND (status = 'UNAVAILABLE') = (observe_time IS NULL)"
            " AND (observe_time IS NULL) = (first_observe_time IS NULL) AND price_usd_e8 >= 0",
            name="round_price",
        ),
        schema=_SCHEMA,
    )
    op.create_index("round_ok", "round", ["feed", "round"], schema=_SCHEMA, postgresql_where=sa.text("status = 'OK'"))
    op.create_index("round_burn_height", "round", ["feed", "burn_height", "round"], schema=_SCHEMA)
    op.create_table(
        "observation",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("round", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("observe_time", _TIME, nullable=False),
        sa.Column("rejection", sa.Text, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["feed", "round"], [f"{_SCHEMA}.round.feed", f"{_SCHEMA}.round.round"]),
        schema=_SCHEMA,
    )


def _publications() -> None:
    op.create_table(
        "publication",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("round", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("confidence_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("observe_seconds", sa.BigInteger, nullable=False),
        sa.Column("burn_height", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.LargeBinary),
        sa.Column("txid", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME),
        sa.CheckConstraint("state IN ('PENDING', 'CONFIRMED', 'REFUSED')", name="publication_state"),
        sa.CheckConstraint("price_usd_e8 > 0 AND octet_length(signature) = 65", name="publication_values"),
        sa.ForeignKeyConstraint(["feed", "round"], [f"{_SCHEMA}.round.feed", f"{_SCHEMA}.round.round"]),
        schema=_SCHEMA,
    )
    op.create_index(
        "publication_one_pending",
        "publication",
        ["feed"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "publication_unsigned",
        "publication",
        ["create_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("signature IS NULL"),
    )
    op.create_index("publication_burn_height", "publication", ["feed", "burn_height"], schema=_SCHEMA)


def _receipts() -> None:
    op.create_table(
        "receipt",
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("policy_id", sa.Text),
        sa.Column("activation_number", sa.BigInteger),
        sa.Column("strike_price_usd_e8", sa.BigInteger),
        sa.Column("request_market_time", _TIME),
        sa.Column("in_the_money", sa.Boolean),
        sa.Column("btc_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("stx_price_usd_e8", sa.BigInteger, nullable=False),
        sa.Column("observe_seconds", sa.BigInteger, nullable=False),
        sa.Column("burn_height", sa.BigInteger, nullable=False),
        sa.Column("btc_rounds", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("stx_rounds", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.CheckConstraint(
            "btc_price_usd_e8 > 0 AND stx_price_usd_e8 > 0 AND octet_length(signature) = 65", name="receipt_values"
        ),
        sa.CheckConstraint(
            "num_nonnulls(policy_id, activation_number, strike_price_usd_e8, request_market_time, in_the_money)"
            " IN (0, 5)",
            name="receipt_purpose",
        ),
        schema=_SCHEMA,
    )
    op.create_index(
        "receipt_one_in_the_money",
        "receipt",
        ["policy_id"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("in_the_money"),
    )


def _lease_and_outbox() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        schema=_SCHEMA,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("due_time", _TIME, nullable=False),
        sa.Column("deliver_time", _TIME),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        schema=_SCHEMA,
    )
    op.create_index(
        "outbox_due", "outbox", ["due_time"], schema=_SCHEMA, postgresql_where=sa.text("deliver_time IS NULL")
    )


def downgrade() -> None:
    """Drops everything."""
    for table in ("outbox", "lease", "receipt", "publication", "observation", "round"):
        op.drop_table(table, schema=_SCHEMA)

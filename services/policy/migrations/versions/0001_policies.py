"""Policies, their history, activations, expiry batches and figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "policy"
STATES = (
    "PENDING_CREATION",
    "ACTIVE",
    "SETTLING",
    "EXPIRING",
    "SETTLED",
    "EXPIRED",
    "FAILED_CREATION",
    "FAILED_SETTLEMENT",
)
TIME = sa.DateTime(timezone=True)


def _text(name: str, default: str | None = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _big(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False, server_default="")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def upgrade() -> None:
    """Creates the schema's tables."""
    _policy()
    _policy_indexes()
    _history()
    _activation()
    _expiry_batch()
    _figures()
    _kernel_tables()


def _policy() -> None:
    op.create_table(
        "policy",
        sa.Column("id", sa.Text, primary_key=True),
        _text("holder_principal", None),
        sa.Column("token", sa.SmallInteger, nullable=False),
        sa.Column("tier", sa.SmallInteger, nullable=False),
        *_big("protected_amount_sats", "strike_price_usd_e8", "floor_price_usd_e8", "btc_price_usd_e8"),
        *_big("stx_price_usd_e8", "premium_base_units", "fee_base_units", "max_payout_base_units"),
        sa.Column("auto_settle", sa.Boolean, nullable=False),
        *_big("quote_burn_height", "quote_expiration_burn_height", "expiration_burn_height"),
        _text("state", None),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        *_big("version", "quote_btc_round", "quote_stx_round"),
        sa.Column("breakdown", JSONB),
        _text("counterparty_principal"),
        _bytes("quote_signature"),
        _bytes("prepared_transaction"),
        sa.Column("onchain_id", sa.BigInteger),
        _text("onchain_state", "NONE"),
        *_big("onchain_burn_height", "creation_burn_height", "grace_blocks"),
        sa.Column("confirm_time", TIME),
        _text("creation_txid"),
        _text("last_status_txid"),
        *_big("activation_number", "activation_burn_height"),
        sa.Column("unjudged_activation", sa.Boolean, nullable=False, server_default=sa.false()),
        *_big("settlement_run", "payout_base_units", "settlement_btc_price_usd_e8", "settlement_stx_price_usd_e8"),
        sa.Column("settlement_time", TIME),
        *_big("expiry_checked_burn_height", "due_burn_height"),
        _text("expiry_batch_id"),
        _text("reason"),
        *_policy_checks(),
        schema=SCHEMA,
    )


def _policy_checks() -> list[sa.CheckConstraint]:
    checks = {
        "token": "token IN (1, 2)",
        "tier": "tier IN (1, 2, 3)",
        "state": _one_of("state", STATES),
        "onchain_state": _one_of("onchain_state", ("NONE", "ACTIVE", "SETTLED", "EXPIRED")),
        "amount": "protected_amount_sats > 0",
        "floor": "floor_price_usd_e8 >= 0 AND floor_price_usd_e8 < strike_price_usd_e8",
        "quote_prices": "btc_price_usd_e8 >= 0 AND stx_price_usd_e8 >= 0",
        "premium": "premium_base_units >= 0 AND fee_base_units >= 0",
        "payout": "max_payout_base_units > 0 AND payout_base_units BETWEEN 0 AND max_payout_base_units",
        "paid_only_when_settled": "payout_base_units = 0 OR state = 'SETTLED'",
        "heights": "quote_burn_height <= quote_expiration_burn_height AND expiration_burn_height > quote_burn_height",
        "version": "version > 0",
        "batch": "state <> 'EXPIRING' OR expiry_batch_id <> ''",
    }
    return [sa.CheckConstraint(text, name=f"policy_{name}_check") for name, text in checks.items()]


def _policy_indexes() -> None:
    for name, columns in {
        "policy_holder_index": ["holder_principal", "id"],
        "policy_tier_index": ["tier", "state", "id"],
        "policy_expiration_index": ["state", "expiration_burn_height", "id"],
        "policy_batch_index": ["expiry_batch_id"],
    }.items():
        op.create_index(name, "policy", columns, schema=SCHEMA)
    op.create_index("policy_onchain_index", "policy", ["onchain_id"], unique=True, schema=SCHEMA)
    for name, column, condition in (
        ("policy_due_index", "due_burn_height", "state = 'ACTIVE' AND NOT unjudged_activation"),
        ("policy_unpaid_index", "quote_expiration_burn_height", "state = 'PENDING_CREATION'"),
        ("policy_unjudged_index", "id", "unjudged_activation"),
    ):
        op.create_index(name, "policy", [column], schema=SCHEMA, postgresql_where=sa.text(condition))


def _history() -> None:
    op.create_table(
        "policy_history",
        sa.Column("id", sa.BigInteger, sa.Identity(always=False), primary_key=True),
        sa.Column("policy_id", sa.Text, sa.ForeignKey(f"{SCHEMA}.policy.id"), nullable=False),
        *_big("version"),
        sa.Column("from_state", sa.Text),
        _text("to_state", None),
        _text("actor", None),
        _text("cause", None),
        sa.Column("time", TIME, nullable=False),
        _text("txid"),
        *_big("burn_height"),
        sa.UniqueConstraint("policy_id", "version", name="policy_history_version_key"),
        sa.CheckConstraint(_one_of("to_state", STATES), name="policy_history_to_state_check"),
        schema=SCHEMA,
    )
    op.execute(
        f"CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    op.execute(
        f"CREATE TRIGGER policy_history_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        f"ON {SCHEMA}.policy_history FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()"
    )


def _activation() -> None:
    states = ("UNJUDGED", "OPEN", "REFUSED", "OUT_OF_THE_MONEY", "IN_THE_MONEY")
    op.create_table(
        "activation",
        sa.Column("policy_id", sa.Text, sa.ForeignKey(f"{SCHEMA}.policy.id"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        _text("state", None),
        sa.Column("request_time", TIME, nullable=False),
        sa.Column("request_market_time", TIME, nullable=False),
        *_big("request_burn_height", "btc_round", "stx_round"),
        _bytes("receipt"),
        sa.Column("receive_time", TIME),
        sa.CheckConstraint(_one_of("state", states), name="activation_state_check"),
        sa.CheckConstraint("number > 0", name="activation_number_check"),
        schema=SCHEMA,
    )


def _expiry_batch() -> None:
    op.create_table(
        "expiry_batch",
        sa.Column("id", sa.Text, primary_key=True),
        *_big("expiration_burn_height"),
        sa.Column("policy_ids", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("release_time", TIME),
        _text("release_reason"),
        sa.CheckConstraint("cardinality(policy_ids) BETWEEN 1 AND 200", name="expiry_batch_size_check"),
        schema=SCHEMA,
    )


def _figures() -> None:
    op.create_table(
        "stat",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        *_big("value"),
        schema=SCHEMA,
    )
    op.create_table(
        "stat_delta",
        sa.Column("id", sa.BigInteger, sa.Identity(always=False), primary_key=True),
        _text("kind", None),
        _text("key", None),
        *_big("delta"),
        schema=SCHEMA,
    )
    op.create_table(
        "projection",
        sa.Column("name", sa.Text, primary_key=True),
        _text("cursor"),
        *_big("delivered_burn_height", "tip_burn_height"),
        sa.Column("tip_market_time", TIME),
        sa.Column("tip_refresh_time", TIME),
        _text("stop_reason"),
        schema=SCHEMA,
    )


def _kernel_tables() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=False), primary_key=True),
        _text("kind", None),
        _text("key", None),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("due_time", TIME, nullable=False),
        sa.Column("deliver_time", TIME),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        _text("last_error"),
        schema=SCHEMA,
    )
    waiting = sa.text("deliver_time IS NULL")
    op.create_index("outbox_waiting_index", "outbox", ["id"], schema=SCHEMA, postgresql_where=waiting)
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        _text("holder", None),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expire_time", TIME, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "request",
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        sa.Column("create_time", TIME, nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Removes everything again."""
    tables = "request lease outbox projection stat_delta stat expiry_batch activation policy_history policy"
    for table in tables.split():
        op.drop_table(table, schema=SCHEMA)
    op.execute(f"DROP FUNCTION {SCHEMA}.refuse_change()")

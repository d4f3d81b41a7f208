"""The first tables."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0001"
down_revision = None

_SCHEMA = "chain_gateway"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Creates everything."""
    _shared_tables()
    _block()
    _event()
    _chain_state()
    _intent()
    _nonces()
    _chain_transaction()
    _signed()
    _prepared_transaction()


def downgrade() -> None:
    """Drops everything."""
    for name in (
        "prepared_transaction",
        "signed_voucher",
        "signed_quote",
        "chain_transaction",
        "nonce_slot",
        "signing_account",
        "intent",
        "chain_state",
        "event",
        "block",
        "lease",
        "request",
    ):
        op.drop_table(name, schema=_SCHEMA)


def _text(name: str, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, primary_key=primary_key)


def _big(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[dt.datetime]:
    return sa.Column(name, _TIME, nullable=nullable)


def _hash_check(name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{name} ~ '^[0-9a-f]{{64}}$'", name=f"{name}_is_hash")


def _shared_tables() -> None:
    op.create_table(
        "request",
        _text("principal", primary_key=True),
        _text("method", primary_key=True),
        _text("request_id", primary_key=True),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary),
        _time("create_time"),
        schema=_SCHEMA,
    )
    op.create_table(
        "lease",
        _text("name", primary_key=True),
        _text("holder"),
        _big("epoch"),
        _time("expire_time"),
        schema=_SCHEMA,
    )


def _block() -> None:
    op.create_table(
        "block",
        _text("index_hash", primary_key=True),
        _text("hash"),
        _text("parent_index_hash"),
        _big("stacks_height"),
        _big("burn_height"),
        _text("burn_hash"),
        _time("burn_time"),
        _time("block_time"),
        sa.Column("canonical", sa.Boolean, nullable=False),
        _time("create_time"),
        _hash_check("index_hash"),
        sa.CheckConstraint("stacks_height >= 0 AND burn_height >= 0", name="heights_not_negative"),
        schema=_SCHEMA,
    )
    op.create_index(
        "block_canonical_height",
        "block",
        ["stacks_height"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("canonical"),
    )
    op.create_index("block_hash", "block", ["hash"], schema=_SCHEMA)


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("canonical", sa.Boolean, nullable=False),
        sa.Column("was_final", sa.Boolean, nullable=False),
        sa.Column("index_hash", sa.Text, sa.ForeignKey(f"{_SCHEMA}.block.index_hash"), nullable=False),
        _text("block_hash"),
        _big("stacks_height"),
        _big("burn_height"),
        _time("block_time"),
        _text("txid"),
        sa.Column("transaction_index", sa.Integer, nullable=False),
        sa.Column("event_index", sa.Integer, nullable=False),
        _text("sender"),
        _text("contract"),
        _text("topic"),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("sequence > 0", name="sequence_positive"),
        sa.CheckConstraint("NOT (withdrawn AND canonical)", name="withdrawal_is_not_canonical"),
        sa.CheckConstraint("transaction_index >= 0 AND event_index >= 0", name="indexes_not_negative"),
        schema=_SCHEMA,
    )
    op.create_index(
        "event_once",
        "event",
        ["index_hash", "txid", "event_index"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("canonical"),
    )
    op.create_index("event_txid", "event", ["txid"], schema=_SCHEMA)


def _chain_state() -> None:
    op.create_table(
        "chain_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _text("index_hash"),
        _text("block_hash"),
        _big("stacks_height"),
        _big("burn_height"),
        _time("burn_time"),
        _big("latest_sequence"),
        _big("parameter_sequence"),
        _big("final_burn_height_high"),
        _time("market_time", nullable=True),
        _time("refresh_time"),
        _time("advance_time"),
        sa.CheckConstraint("id = 1", name="one_row"),
        sa.CheckConstraint("parameter_sequence <= latest_sequence", name="sequences_in_order"),
        schema=_SCHEMA,
    )


def _intent() -> None:
    op.create_table(
        "intent",
        _text("id", primary_key=True),
        _text("key"),
        sa.Column("call", sa.LargeBinary, nullable=False),
        _text("purpose"),
        _text("created_by"),
        _text("contract"),
        _text("function"),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("post_conditions", ARRAY(sa.LargeBinary), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        _big("contract_error"),
        _text("reason"),
        _time("create_time"),
        _time("end_time", nullable=True),
        sa.UniqueConstraint("key", name="intent_key"),
        sa.CheckConstraint("state BETWEEN 1 AND 5", name="state_known"),
        sa.CheckConstraint("(state >= 3) = (end_time IS NOT NULL)", name="ended_has_end_time"),
        sa.CheckConstraint("contract_error = 0 OR state = 4", name="error_only_if_aborted"),
        schema=_SCHEMA,
    )
    op.create_index(
        "intent_queue",
        "intent",
        ["priority", "create_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index("intent_open", "intent", ["state"], schema=_SCHEMA, postgresql_where=sa.text("state <= 2"))


def _nonces() -> None:
    op.create_table(
        "signing_account",
        _text("address", primary_key=True),
        _big("floor_nonce"),
        sa.CheckConstraint("floor_nonce >= 0", name="floor_not_negative"),
        schema=_SCHEMA,
    )
    op.create_table(
        "nonce_slot",
        sa.Column("address", sa.Text, sa.ForeignKey(f"{_SCHEMA}.signing_account.address"), primary_key=True),
        sa.Column("nonce", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("intent_id", sa.Text, sa.ForeignKey(f"{_SCHEMA}.intent.id"), nullable=False),
        sa.CheckConstraint("nonce >= 0", name="nonce_not_negative"),
        sa.UniqueConstraint("intent_id", name="nonce_slot_intent"),
        schema=_SCHEMA,
    )


def _chain_transaction() -> None:
    op.create_table(
        "chain_transaction",
        _text("txid", primary_key=True),
        sa.Column("intent_id", sa.Text, sa.ForeignKey(f"{_SCHEMA}.intent.id")),
        sa.Column("prepared_id", sa.Text),
        _text("sender"),
        _big("nonce"),
        _big("fee_ustx"),
        _text("contract"),
        _text("function"),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        _time("due_time"),
        _text("node_status"),
        _text("result"),
        sa.Column("mined_index_hash", sa.Text),
        _big("mined_stacks_height", nullable=True),
        _big("mined_burn_height", nullable=True),
        _big("doubt_burn_height", nullable=True),
        _text("reason"),
        _time("create_time"),
        _hash_check("txid"),
        sa.CheckConstraint("(intent_id IS NULL) <> (prepared_id IS NULL)", name="of_intent_or_user"),
        sa.CheckConstraint("state BETWEEN 1 AND 8", name="state_known"),
        sa.CheckConstraint("nonce >= 0 AND fee_ustx >= 0 AND sends >= 0", name="numbers_not_negative"),
        sa.CheckConstraint(
            "(mined_index_hash IS NULL) = (mined_stacks_height IS NULL)"
            " AND (mined_index_hash IS NULL) = (mined_burn_height IS NULL)",
            name="mined_wholly",
        ),
        schema=_SCHEMA,
    )
    _chain_transaction_indexes()


def _chain_transaction_indexes() -> None:
    op.create_index("chain_transaction_intent", "chain_transaction", ["intent_id"], schema=_SCHEMA)
    op.create_index(
        "chain_transaction_open",
        "chain_transaction",
        ["due_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("state IN (1, 2, 3, 8)"),
    )


def _signed() -> None:
    for table, identifier in (("signed_quote", "policy_id"), ("signed_voucher", "withdrawal_id")):
        op.create_table(
            table,
            _text(identifier, primary_key=True),
            sa.Column("terms", sa.LargeBinary, nullable=False),
            _text("signer"),
            sa.Column("signature", sa.LargeBinary, nullable=False),
            _time("create_time"),
            sa.CheckConstraint("octet_length(signature) = 65", name="signature_has_65_bytes"),
            schema=_SCHEMA,
        )


def _prepared_transaction() -> None:
    op.create_table(
        "prepared_transaction",
        _text("id", primary_key=True),
        _text("principal"),
        _text("contract"),
        _text("function"),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("post_conditions", ARRAY(sa.LargeBinary), nullable=False),
        _big("suggested_fee_ustx"),
        _big("suggested_nonce"),
        _time("create_time"),
        schema=_SCHEMA,
    )

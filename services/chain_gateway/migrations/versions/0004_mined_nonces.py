"""Nonces as blocks have them, fillers of gaps, and what an intent waits for or is given up for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """Adds to what is there; the release before goes on writing all of it."""
    _mined_nonce()
    _accounts()
    _intent()
    _chain_transaction()


def downgrade() -> None:
    """Removes it; fillers go with it."""
    op.execute(f"DELETE FROM {_SCHEMA}.chain_transaction WHERE filler")
    op.drop_constraint("of_intent_user_or_filler", "chain_transaction", schema=_SCHEMA)
    op.create_check_constraint(
        "of_intent_or_user", "chain_transaction", "(intent_id IS NULL) <> (prepared_id IS NULL)", schema=_SCHEMA
    )
    op.drop_index("chain_transaction_nonce", "chain_transaction", schema=_SCHEMA)
    for name in ("filler", "refusals", "waiting_stacks_height"):
        op.drop_column("chain_transaction", name, schema=_SCHEMA)
    op.drop_index("intent_given_up", "intent", schema=_SCHEMA)
    for name in ("give_up_reason", "hold_time"):
        op.drop_column("intent", name, schema=_SCHEMA)
    op.execute(f"DELETE FROM {_SCHEMA}.nonce_slot WHERE intent_id IS NULL")
    op.alter_column("nonce_slot", "intent_id", nullable=False, schema=_SCHEMA)
    op.drop_column("signing_account", "complete", schema=_SCHEMA)
    op.drop_column("signing_account", "base_nonce", schema=_SCHEMA)
    op.drop_table("mined_nonce", schema=_SCHEMA)


def _mined_nonce() -> None:
    op.create_table(
        "mined_nonce",
        sa.Column("sender", sa.Text, primary_key=True),
        sa.Column("nonce", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("txid", sa.Text, nullable=False),
        sa.Column("index_hash", sa.Text, nullable=False),
        sa.Column("stacks_height", sa.BigInteger, nullable=False),
        sa.Column("burn_height", sa.BigInteger, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False, server_default="false"),
        sa.CheckConstraint("txid ~ '^[0-9a-f]{64}$'", name="txid_is_hash"),
        sa.CheckConstraint("nonce >= 0", name="nonce_not_negative"),
        schema=_SCHEMA,
    )
    op.create_index(
        "mined_nonce_not_final", "mined_nonce", ["burn_height"], schema=_SCHEMA, postgresql_where=sa.text("NOT final")
    )
    op.create_index("mined_nonce_height", "mined_nonce", ["stacks_height"], schema=_SCHEMA)
    op.execute(
        f"INSERT INTO {_SCHEMA}.mined_nonce (sender, nonce, txid, index_hash, stacks_height, burn_height, final)"
        " SELECT sender, nonce, txid, mined_index_hash, mined_stacks_height, mined_burn_height, state IN (4, 5)"
        f" FROM {_SCHEMA}.chain_transaction WHERE mined_index_hash IS NOT NULL ON CONFLICT DO NOTHING"
    )


def _accounts() -> None:
    op.alter_column("signing_account", "floor_nonce", server_default="0", schema=_SCHEMA)
    op.add_column("signing_account", sa.Column("base_nonce", sa.BigInteger), schema=_SCHEMA)
    complete = sa.Column("complete", sa.Boolean, nullable=False, server_default="false")
    op.add_column("signing_account", complete, schema=_SCHEMA)
    op.alter_column("nonce_slot", "intent_id", nullable=True, schema=_SCHEMA)


def _intent() -> None:
    op.add_column("intent", sa.Column("give_up_reason", sa.Text, nullable=False, server_default=""), schema=_SCHEMA)
    op.add_column("intent", sa.Column("hold_time", sa.DateTime(timezone=True)), schema=_SCHEMA)
    op.create_index(
        "intent_given_up",
        "intent",
        ["id"],
        schema=_SCHEMA,
        postgresql_where=sa.text("state = 2 AND give_up_reason <> ''"),
    )


def _chain_transaction() -> None:
    filler = sa.Column("filler", sa.Boolean, nullable=False, server_default="false")
    op.add_column("chain_transaction", filler, schema=_SCHEMA)
    op.add_column(
        "chain_transaction", sa.Column("refusals", sa.Integer, nullable=False, server_default="0"), schema=_SCHEMA
    )
    op.add_column("chain_transaction", sa.Column("waiting_stacks_height", sa.BigInteger), schema=_SCHEMA)
    op.drop_constraint("of_intent_or_user", "chain_transaction", schema=_SCHEMA)
    op.create_check_constraint(
        "of_intent_user_or_filler",
        "chain_transaction",
        "num_nonnulls(intent_id, prepared_id) = CASE WHEN filler THEN 0 ELSE 1 END",
        schema=_SCHEMA,
    )
    op.create_index("chain_transaction_nonce", "chain_transaction", ["sender", "nonce"], schema=_SCHEMA)

"""States of backend keys, their changes, and until when a signature of theirs can be used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SCHEMA = "chain_gateway"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds them; processes make their keys known at their start."""
    op.create_table(
        "backend_key",
        sa.Column("address", sa.Text, primary_key=True),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("update_time", _TIME, nullable=False),
        sa.CheckConstraint("state BETWEEN 1 AND 4", name="state_known"),
        schema=_SCHEMA,
    )
    op.create_index(
        "backend_key_preferred",
        "backend_key",
        ["state"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("state = 2"),
    )
    op.create_table(
        "backend_key_change",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("old_state", sa.Integer),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        schema=_SCHEMA,
    )
    for table in ("signed_quote", "signed_voucher"):
        op.add_column(table, sa.Column("expiration_burn_height", sa.BigInteger), schema=_SCHEMA)
        op.create_index(f"{table}_signer", table, ["signer", "expiration_burn_height"], schema=_SCHEMA)


def downgrade() -> None:
    """Forgets them."""
    for table in ("signed_quote", "signed_voucher"):
        op.drop_index(f"{table}_signer", table, schema=_SCHEMA)
        op.drop_column(table, "expiration_burn_height", schema=_SCHEMA)
    op.drop_table("backend_key_change", schema=_SCHEMA)
    op.drop_table("backend_key", schema=_SCHEMA)

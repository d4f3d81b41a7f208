"""Transactions of users whose fee we pay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """Adds what is null, or false, for everything that is there."""
    sponsored = sa.Column("sponsored", sa.Boolean, nullable=False, server_default="false")
    op.add_column("prepared_transaction", sponsored, schema=_SCHEMA)
    op.add_column("intent", sa.Column("origin_signed", sa.LargeBinary), schema=_SCHEMA)
    op.add_column("chain_transaction", sa.Column("origin", sa.Text), schema=_SCHEMA)
    op.add_column("chain_transaction", sa.Column("origin_nonce", sa.BigInteger), schema=_SCHEMA)
    op.create_index(
        "intent_sponsored",
        "intent",
        ["created_by", "create_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("origin_signed IS NOT NULL"),
    )


def downgrade() -> None:
    """Removes it; sponsored transactions look like the sponsor's own."""
    op.drop_index("intent_sponsored", "intent", schema=_SCHEMA)
    op.drop_column("chain_transaction", "origin_nonce", schema=_SCHEMA)
    op.drop_column("chain_transaction", "origin", schema=_SCHEMA)
    op.drop_column("intent", "origin_signed", schema=_SCHEMA)
    op.drop_column("prepared_transaction", "sponsored", schema=_SCHEMA)

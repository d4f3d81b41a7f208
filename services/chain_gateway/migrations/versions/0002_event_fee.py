"""What our own transactions cost, beside their events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """Adds the fee; rows from before have none."""
    fee = sa.Column("backend_fee_ustx", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("event", fee, schema=_SCHEMA)
    op.create_check_constraint("fee_not_negative", "event", "backend_fee_ustx >= 0", schema=_SCHEMA)


def downgrade() -> None:
    """Removes the fee."""
    op.drop_column("event", "backend_fee_ustx", schema=_SCHEMA)

"""A voucher's tier is kept with it, for whoever makes the pool's books again.

Safe for the release before, which stores none.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """One column, null for what was signed before."""
    op.add_column("signed_voucher", sa.Column("tier", sa.SmallInteger, nullable=True), schema=_SCHEMA)


def downgrade() -> None:
    """Removes it."""
    op.drop_column("signed_voucher", "tier", schema=_SCHEMA)

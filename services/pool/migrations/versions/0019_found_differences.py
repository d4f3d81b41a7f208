"""What a comparison found, kept while the policy service puts its own books right.

Safe for the release before, which does not know the table.

Revision ID: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from services.pool.migrations.columns import SCHEMA, key

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row for each reconciliation that is not reported yet."""
    op.create_table(
        "reconciliation_found", key("reconciliation_id"), sa.Column("found", JSONB, nullable=False), schema=SCHEMA
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("reconciliation_found", schema=SCHEMA)

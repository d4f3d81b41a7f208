"""Indexes to find what is kept for a time only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "policy"


def upgrade() -> None:
    """Adds them; the release still running removes nothing."""
    delivered = sa.text("deliver_time IS NOT NULL")
    op.create_index("outbox_delivered_index", "outbox", ["deliver_time"], schema=SCHEMA, postgresql_where=delivered)
    op.create_index("request_time_index", "request", ["create_time"], schema=SCHEMA)


def downgrade() -> None:
    """Removes them again."""
    op.drop_index("request_time_index", "request", schema=SCHEMA)
    op.drop_index("outbox_delivered_index", "outbox", schema=SCHEMA)

"""What waits in the outbox by its id, the order in which it is delivered.

By its due time it had to be sorted, and a plan for any values rather walked along everything that was delivered. Safe
for the release before, which reads by the same conditions.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index in the other's place."""
    waiting = sa.text("deliver_time IS NULL")
    op.create_index("outbox_waiting", "outbox", ["id"], schema=SCHEMA, postgresql_where=waiting)
    op.drop_index("outbox_pending", "outbox", schema=SCHEMA)


def downgrade() -> None:
    """Puts it back."""
    pending = sa.text("deliver_time IS NULL")
    op.create_index("outbox_pending", "outbox", ["due_time", "id"], schema=SCHEMA, postgresql_where=pending)
    op.drop_index("outbox_waiting", "outbox", schema=SCHEMA)

"""What waits in the outbox by its id, the order in which it is delivered.

By its due time it had to be sorted, and a plan for any values rather walked along everything that was delivered. Safe
for the release before, which reads by the same conditions.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"


def upgrade() -> None:
    """One index in the other's place."""
    _exchange("outbox_due", "outbox_waiting", "id")


def downgrade() -> None:
    """Puts it back."""
    _exchange("outbox_waiting", "outbox_due", "due_time")


def _exchange(old: str, new: str, column: str) -> None:
    waiting = sa.text("deliver_time IS NULL")
    op.create_index(new, "outbox", [column], schema=_SCHEMA, postgresql_where=waiting)
    op.drop_index(old, "outbox", schema=_SCHEMA)

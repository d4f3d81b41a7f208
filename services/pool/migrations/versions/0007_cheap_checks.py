"""What is done with new postings reads by index whatever the planner knows of the tables.

Revision ID: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A session plans a trigger's queries once. Planned while the journal was small, they read all of it: ever more."""
    for function in ("take_in_postings", "take_in_heights"):
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            op.execute(f"ALTER FUNCTION pool.{function}() SET {setting} = off")

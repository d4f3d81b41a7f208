"""Entries of a height by their kind, so that a statement skips what cannot change a tier's capital.

The index stands in place of one on the height alone. Safe for the release before, which finds heights by it.

Revision ID: 0015
"""

from __future__ import annotations

from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index in the other's place."""
    op.create_index("journal_entry_height_kind", "journal_entry", ["burn_height", "kind"], schema=SCHEMA)
    op.drop_index("journal_entry_burn_height", "journal_entry", schema=SCHEMA)


def downgrade() -> None:
    """The other way round."""
    op.create_index("journal_entry_burn_height", "journal_entry", ["burn_height"], schema=SCHEMA)
    op.drop_index("journal_entry_height_kind", "journal_entry", schema=SCHEMA)

"""What contracts and policy service say, staged page by page until their reconciliation is reported.

Safe for the release before, which does not know the tables.

Revision ID: 0014
"""

from __future__ import annotations

from alembic import op

from services.pool.migrations.columns import SCHEMA, big, key, moment, small, text

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """How far each book is staged, and what it says of each policy."""
    op.create_table(
        "reconciliation_book",
        key("reconciliation_id"),
        key("book"),
        text("block_hash"),
        big("next_after_onchain_id"),
        moment("update_time"),
        schema=SCHEMA,
    )
    op.create_table(
        "reconciliation_fact",
        key("reconciliation_id"),
        key("book"),
        key("policy_id"),
        text("status"),
        small("token"),
        big("max_payout"),
        big("payout"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drops both."""
    op.drop_table("reconciliation_fact", schema=SCHEMA)
    op.drop_table("reconciliation_book", schema=SCHEMA)

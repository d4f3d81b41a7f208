"""A provider's entries by their own order, and deposits by their transaction.

Both were found by reading more than was asked for. Safe for the release before, which does not use the indexes.

Revision ID: 0011
"""

from __future__ import annotations

from typing import Final

from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEXES: Final = (
    ("statement_line_provider_entry", "statement_line", ["provider", "entry_id"]),
    ("deposit_txid", "deposit", ["txid"]),
)


def upgrade() -> None:
    """One index of each table."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns, schema=SCHEMA)


def downgrade() -> None:
    """Drops them."""
    for name, table, _ in _INDEXES:
        op.drop_index(name, table, schema=SCHEMA)

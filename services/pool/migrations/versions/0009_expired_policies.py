"""Open policies by the height at which they expire, to find those that have expired and are not decided.

Safe for the release before, which does not use the index.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index, of open policies alone."""
    op.create_index(
        "coverage_open_expiration",
        "coverage",
        ["expiration_burn_height"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'ACTIVE'"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_index("coverage_open_expiration", "coverage", schema=SCHEMA)

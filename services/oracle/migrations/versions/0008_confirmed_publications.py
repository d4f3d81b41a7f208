"""The newest confirmed publication is found at once, however many were refused since.

Revision ID: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"


def upgrade() -> None:
    """Indexes them by round."""
    op.create_index(
        "publication_confirmed",
        "publication",
        ["feed", "round"],
        schema=_SCHEMA,
        postgresql_where=sa.text("state = 'CONFIRMED'"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_index("publication_confirmed", "publication", schema=_SCHEMA)

"""The volatility that was estimated on a market day is kept, for prices that are asked for later.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SCHEMA = "oracle"


def upgrade() -> None:
    """A row for each feed and day on which there was an estimate."""
    op.create_table(
        "volatility",
        sa.Column("feed", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Date, primary_key=True),
        *(
            sa.Column(name, sa.Double, nullable=False)
            for name in ("close_to_close_30d", "close_to_close_90d", "ewma", "parkinson_30d")
        ),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("feed IN (1, 2)", name="volatility_feed"),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("volatility", schema=_SCHEMA)

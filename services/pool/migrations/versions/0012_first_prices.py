"""What a price was made of besides rounds, and what was free when a withdrawal's turn began.

Safe for the release before: what it leaves out is null, and means what it did.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_VOLATILITIES = ("volatility_ewma", "volatility_30d", "volatility_90d", "volatility_parkinson")


def upgrade() -> None:
    """Nullable columns: of rows that were priced before, only the rounds are known."""
    op.add_column("withdrawal", big("free_at_turn", nullable=True), schema=SCHEMA)
    for table in ("deposit", "withdrawal"):
        op.add_column(table, big("price_burn_height", nullable=True), schema=SCHEMA)
        for name in _VOLATILITIES:
            op.add_column(table, sa.Column(name, sa.Double, nullable=True), schema=SCHEMA)


def downgrade() -> None:
    """Drops them."""
    op.drop_column("withdrawal", "free_at_turn", schema=SCHEMA)
    for table in ("deposit", "withdrawal"):
        for name in ("price_burn_height", *_VOLATILITIES):
            op.drop_column(table, name, schema=SCHEMA)

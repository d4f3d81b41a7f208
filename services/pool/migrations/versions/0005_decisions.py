"""What the oracle has decided about policies that the books still show as open.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big, key, serial, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table of decisions, how far they were read, and whether a policy is settled at its expiration.

    A policy of before counts as settled automatically, as nearly all are.
    """
    op.create_table(
        "decision",
        serial(),
        text("policy_id", nullable=True),
        big("expiration_burn_height", nullable=True),
        big("btc_price_e8"),
        big("stx_price_e8"),
        sa.CheckConstraint("(policy_id IS NULL) <> (expiration_burn_height IS NULL)", name="decision_subject"),
        sa.CheckConstraint("btc_price_e8 > 0 AND stx_price_e8 > 0", name="decision_prices"),
        sa.UniqueConstraint("policy_id", name="decision_policy"),
        sa.UniqueConstraint("expiration_burn_height", name="decision_height"),
        schema=SCHEMA,
    )
    op.create_table("decision_cursor", key("name"), text("cursor"), schema=SCHEMA)
    op.execute("INSERT INTO pool.decision_cursor (name, cursor) VALUES ('oracle', '')")
    settles = sa.Column("auto_settle", sa.Boolean, nullable=False, server_default=sa.true())
    op.add_column("coverage", settles, schema=SCHEMA)


def downgrade() -> None:
    """Drops all of it."""
    op.drop_column("coverage", "auto_settle", schema=SCHEMA)
    op.drop_table("decision_cursor", schema=SCHEMA)
    op.drop_table("decision", schema=SCHEMA)

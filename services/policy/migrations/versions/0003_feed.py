"""The feed of changes and notices, numbered in the order in which they were committed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "policy"


def upgrade() -> None:
    """Adds the feed; changes of the release still running are not in it, nor are those before it."""
    op.create_table(
        "feed",
        sa.Column("id", sa.BigInteger, sa.Identity(always=False), primary_key=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("policy_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, server_default=""),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("burn_height", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("txid", sa.Text, nullable=False, server_default=""),
        sa.Column("token", sa.SmallInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("once", sa.Text),
        sa.Column("number", sa.BigInteger),
        schema=SCHEMA,
    )
    op.create_index("feed_number_index", "feed", ["number"], unique=True, schema=SCHEMA)
    op.create_index("feed_principal_index", "feed", ["principal", "number"], schema=SCHEMA)
    op.create_index("feed_once_index", "feed", ["once"], unique=True, schema=SCHEMA)
    waiting = sa.text("number IS NULL")
    op.create_index("feed_waiting_index", "feed", ["id"], schema=SCHEMA, postgresql_where=waiting)
    op.execute(sa.schema.CreateSequence(sa.Sequence("feed_number", schema=SCHEMA)))
    op.create_table(
        "notice_cursor",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    active = sa.text("state = 'ACTIVE'")
    op.create_index("policy_strike_index", "policy", ["strike_price_usd_e8"], schema=SCHEMA, postgresql_where=active)


def downgrade() -> None:
    """Removes it again."""
    op.drop_index("policy_strike_index", "policy", schema=SCHEMA)
    op.drop_table("notice_cursor", schema=SCHEMA)
    op.drop_table("feed", schema=SCHEMA)
    op.execute(sa.schema.DropSequence(sa.Sequence("feed_number", schema=SCHEMA)))

"""What the signing policy allowed and refused, and the sums that it limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SCHEMA = "chain_gateway"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds the audit and the sums of a day; nothing that was signed before counts."""
    op.create_table(
        "signing_audit",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("ustx", sa.BigInteger, nullable=False),
        sa.Column("sats", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.LargeBinary, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("last_time", _TIME, nullable=False),
        sa.CheckConstraint("ustx >= 0 AND sats >= 0", name="value_not_negative"),
        sa.CheckConstraint("attempts >= 1", name="attempts_positive"),
        schema=_SCHEMA,
    )
    op.create_index(
        "signing_audit_allowed",
        "signing_audit",
        ["what", "create_time"],
        schema=_SCHEMA,
        postgresql_where=sa.text("reason = ''"),
    )
    op.create_table(
        "signing_day",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("ustx", sa.BigInteger, nullable=False),
        sa.Column("sats", sa.BigInteger, nullable=False),
        sa.CheckConstraint("ustx >= 0 AND sats >= 0", name="value_not_negative"),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Forgets them."""
    op.drop_table("signing_day", schema=_SCHEMA)
    op.drop_table("signing_audit", schema=_SCHEMA)

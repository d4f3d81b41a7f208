"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SCHEMA = "identity"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Creates challenges, sessions and refresh tokens."""
    _challenge()
    _session()
    _refresh_token()


def downgrade() -> None:
    """Drops everything."""
    for name in ("refresh_token", "session", "challenge"):
        op.drop_table(name, schema=_SCHEMA)


def _challenge() -> None:
    op.create_table(
        "challenge",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False, unique=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("issue_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("consume_time", _TIME),
        sa.CheckConstraint("expire_time > issue_time", name="challenge_times"),
        sa.CheckConstraint("consume_time < expire_time", name="challenge_consumed_in_time"),
        sa.CheckConstraint("attempts >= 0", name="challenge_attempts"),
        schema=_SCHEMA,
    )
    op.create_index("challenge_principal_issue_time", "challenge", ["principal", "issue_time"], schema=_SCHEMA)
    op.create_index("challenge_expire_time", "challenge", ["expire_time"], schema=_SCHEMA)


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME),
        sa.Column("end_cause", sa.Text, nullable=False),
        sa.CheckConstraint("expire_time > create_time", name="session_times"),
        sa.CheckConstraint("(end_time IS NULL) = (end_cause = '')", name="session_end_has_a_cause"),
        schema=_SCHEMA,
    )
    op.create_index("session_principal", "session", ["principal"], schema=_SCHEMA)
    op.create_index("session_expire_time", "session", ["expire_time"], schema=_SCHEMA)


def _refresh_token() -> None:
    op.create_table(
        "refresh_token",
        sa.Column("token_sha256", sa.LargeBinary, primary_key=True),
        sa.Column("session_id", sa.Text, sa.ForeignKey(f"{_SCHEMA}.session.id", ondelete="CASCADE"), nullable=False),
        sa.Column("expire_time", _TIME, nullable=False),
        sa.Column("spend_time", _TIME),
        sa.CheckConstraint("length(token_sha256) = 32", name="refresh_token_hash_length"),
        schema=_SCHEMA,
    )
    # One token of a session can be traded at a time; the rest are spent.
    op.create_index(
        "refresh_token_unspent",
        "refresh_token",
        ["session_id"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("spend_time IS NULL"),
    )
    op.create_index("refresh_token_session_id", "refresh_token", ["session_id"], schema=_SCHEMA)
    op.create_index("refresh_token_expire_time", "refresh_token", ["expire_time"], schema=_SCHEMA)

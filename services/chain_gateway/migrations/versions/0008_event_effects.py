"""Events that show the effect of an intent are found by what they are about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """Indexes the few topics that are asked for."""
    op.create_index(
        "event_published",
        "event",
        ["value"],
        schema=_SCHEMA,
        postgresql_using="hash",
        postgresql_where=sa.text("topic = 'price-published'"),
    )
    op.create_index(
        "event_policy_ended",
        "event",
        ["sequence"],
        schema=_SCHEMA,
        postgresql_where=sa.text("topic IN ('policy-settled', 'policy-expired')"),
    )


def downgrade() -> None:
    """Removes them."""
    op.drop_index("event_policy_ended", "event", schema=_SCHEMA)
    op.drop_index("event_published", "event", schema=_SCHEMA)

"""How many expiry batches are on their way into a block, and which heights have policies that are due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "policy"
DUE = sa.text("state = 'ACTIVE' AND NOT unjudged_activation")


def upgrade() -> None:
    """Batches of before take no place; those that the release still running claims are looked at once."""
    column = sa.Column("in_flight", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("expiry_batch", column, schema=SCHEMA)
    op.alter_column("expiry_batch", "in_flight", server_default=sa.true(), schema=SCHEMA)
    op.create_index(
        "expiry_batch_flight_index",
        "expiry_batch",
        ["expiration_burn_height"],
        schema=SCHEMA,
        postgresql_where=sa.text("in_flight"),
    )
    columns = ["due_burn_height", "expiration_burn_height"]
    op.create_index("policy_due_heights_index", "policy", columns, schema=SCHEMA, postgresql_where=DUE)
    op.drop_index("policy_due_index", "policy", schema=SCHEMA)


def downgrade() -> None:
    """Removes them again."""
    op.create_index("policy_due_index", "policy", ["due_burn_height"], schema=SCHEMA, postgresql_where=DUE)
    op.drop_index("policy_due_heights_index", "policy", schema=SCHEMA)
    op.drop_index("expiry_batch_flight_index", "expiry_batch", schema=SCHEMA)
    op.drop_column("expiry_batch", "in_flight", schema=SCHEMA)

"""Indexes for the lists of a holder by state and by expiration."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "policy"
INDEXES = {
    "policy_holder_state_index": ["holder_principal", "state", "id"],
    "policy_holder_expiration_index": ["holder_principal", "state", "expiration_burn_height", "id"],
}


def upgrade() -> None:
    """Adds them; the release still running does not look at them."""
    for name, columns in INDEXES.items():
        op.create_index(name, "policy", columns, schema=SCHEMA)


def downgrade() -> None:
    """Removes them again."""
    for name in INDEXES:
        op.drop_index(name, "policy", schema=SCHEMA)

"""How final each event was, for consumers with numbers of confirmations of their own; indexes for reorganisations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SCHEMA = "chain_gateway"
_ENOUGH_FOR_ALL = 1_000_000


def upgrade() -> None:
    """Adds the column. Of what was withdrawn when final it is not known how final: everybody is told."""
    seen = sa.Column("confirmations_seen", sa.Integer, nullable=False, server_default="0")
    op.add_column("event", seen, schema=_SCHEMA)
    op.execute(f"UPDATE {_SCHEMA}.event SET confirmations_seen = {_ENOUGH_FOR_ALL} WHERE was_final")
    canonical = sa.text("canonical")
    for name in ("stacks_height", "burn_height"):
        op.create_index(f"event_canonical_{name}", "event", [name], schema=_SCHEMA, postgresql_where=canonical)


def downgrade() -> None:
    """Removes the column and the indexes."""
    for name in ("stacks_height", "burn_height"):
        op.drop_index(f"event_canonical_{name}", "event", schema=_SCHEMA)
    op.drop_column("event", "confirmations_seen", schema=_SCHEMA)

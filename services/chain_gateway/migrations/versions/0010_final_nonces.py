"""The highest final nonce of an account is found at once, however many follow that are not final.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_SCHEMA = "chain_gateway"


def upgrade() -> None:
    """Indexes them by account."""
    op.create_index(
        "mined_nonce_final", "mined_nonce", ["sender", "nonce"], schema=_SCHEMA, postgresql_where=sa.text("final")
    )


def downgrade() -> None:
    """Removes it."""
    op.drop_index("mined_nonce_final", "mined_nonce", schema=_SCHEMA)

"""Indexes that answer each list of a holder whole: by state, tier and token together, by age or by expiration.

In the place of those by state alone, with which a holder of very many policies paid for a rare tier by all of them. The
release before finds a holder's policies by these too, though not in order.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA: Final = "policy"
_KIND: Final = ["holder_principal", "state", "tier", "token"]
_MADE: Final = {
    "policy_holder_kind_index": [*_KIND, "id"],
    "policy_holder_kind_expiration_index": [*_KIND, "expiration_burn_height", "id"],
}
_REPLACED: Final = {
    "policy_holder_state_index": ["holder_principal", "state", "id"],
    "policy_holder_expiration_index": ["holder_principal", "state", "expiration_burn_height", "id"],
}


def upgrade() -> None:
    """Each makes one superfluous."""
    _exchange(_REPLACED, _MADE)


def downgrade() -> None:
    """Back to the former."""
    _exchange(_MADE, _REPLACED)


def _exchange(old: dict[str, list[str]], new: dict[str, list[str]]) -> None:
    for name, columns in new.items():
        op.create_index(name, "policy", columns, schema=SCHEMA)
    for name in old:
        op.drop_index(name, "policy", schema=SCHEMA)

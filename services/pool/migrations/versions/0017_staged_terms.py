"""What contracts and policy service say of a policy's terms, staged with the rest.

Safe for the release before, which stages none: what is not told is not compared.

Revision ID: 0017
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big, text

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NUMBERS = (
    "onchain_id",
    "tier",
    "protected_amount_sats",
    "strike_price_usd_e8",
    "floor_price_usd_e8",
    "btc_price_usd_e8",
    "stx_price_usd_e8",
    "premium_base_units",
    "fee_base_units",
    "quote_burn_height",
    "quote_expiration_burn_height",
    "expiration_burn_height",
    "created_burn_height",
    "grace_blocks",
)


def upgrade() -> None:
    """A column for each term."""
    for column in _columns():
        op.add_column("reconciliation_fact", column, schema=SCHEMA)


def downgrade() -> None:
    """Drops them."""
    for column in _columns():
        op.drop_column("reconciliation_fact", column.name, schema=SCHEMA)


def _columns() -> list[sa.Column[Any]]:
    settles = sa.Column("auto_settle", sa.Boolean, nullable=True)
    return [text("holder_principal", nullable=True), settles, *(big(name, nullable=True) for name in _NUMBERS)]

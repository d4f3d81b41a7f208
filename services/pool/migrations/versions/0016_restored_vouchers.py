"""Withdrawals that were made again from their vouchers, of which nobody knows the shares.

Safe for the release before: it makes none, and the default is what its rows are.

Revision ID: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; and nobody is told of a request that is only remembered."""
    restored = sa.Column("restored", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("withdrawal", restored, schema=SCHEMA)
    op.drop_constraint("withdrawal_amounts", "withdrawal", schema=SCHEMA)
    amounts = "(shares > 0 OR restored) AND shares >= 0 AND amount >= 0"
    op.create_check_constraint("withdrawal_amounts", "withdrawal", amounts, schema=SCHEMA)
    op.execute("DROP TRIGGER withdrawal_told_of ON pool.withdrawal")
    op.execute(
        """CREATE CONSTRAINT TRIGGER withdrawal_told_of AFTER INSERT ON pool.withdrawal DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NOT NEW.restored) EXECUTE FUNCTION pool.tell_of_withdrawal()"""
    )

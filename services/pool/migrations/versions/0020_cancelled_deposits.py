"""Deposits that are taken back before they have a price, by a withdrawal that burns no shares.

Safe for the release before: it makes none, and the defaults are what its rows are.

Revision ID: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, text

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A state, two columns, and what is told: that a deposit is cancelled, of its withdrawal from the voucher on."""
    restored = sa.Column("restored", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("deposit", restored, schema=SCHEMA)
    op.drop_constraint("deposit_state", "deposit", schema=SCHEMA)
    states = "state IN ('FINAL', 'PRICED', 'REVERSED', 'CANCELLED')"
    op.create_check_constraint("deposit_state", "deposit", states, schema=SCHEMA)
    op.add_column("withdrawal", text("deposit_id", nullable=True), schema=SCHEMA)
    returns = sa.text("deposit_id IS NOT NULL")
    op.create_index(
        "withdrawal_deposit", "withdrawal", ["deposit_id"], unique=True, schema=SCHEMA, postgresql_where=returns
    )
    op.drop_constraint("withdrawal_amounts", "withdrawal", schema=SCHEMA)
    amounts = "(shares > 0 OR restored OR deposit_id IS NOT NULL) AND shares >= 0 AND amount >= 0"
    op.create_check_constraint("withdrawal_amounts", "withdrawal", amounts, schema=SCHEMA)
    for statement in _TOLD:
        op.execute(statement)


_NO_LONGER_FINAL = "OLD.state <> NEW.state AND NEW.state IN ('PRICED', 'REVERSED', 'CANCELLED')"
_TOLD = (
    "DROP TRIGGER deposit_change_told_of ON pool.deposit",
    f"""CREATE CONSTRAINT TRIGGER deposit_change_told_of AFTER UPDATE ON pool.deposit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN ({_NO_LONGER_FINAL}) EXECUTE FUNCTION pool.tell_of_deposit()""",
    "DROP TRIGGER withdrawal_told_of ON pool.withdrawal",
    """CREATE CONSTRAINT TRIGGER withdrawal_told_of AFTER INSERT ON pool.withdrawal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NOT NEW.restored AND NEW.deposit_id IS NULL) EXECUTE FUNCTION pool.tell_of_withdrawal()""",
)

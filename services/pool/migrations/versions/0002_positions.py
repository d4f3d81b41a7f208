"""Deposits, withdrawals, reservations, coverage, reports.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from services.pool.migrations.columns import SCHEMA, big, binary, key, moment, serial, text, tier_and_token

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


_STATES = {
    "deposit": ("FINAL", "PRICED", "REVERSED"),
    "withdrawal": ("REQUESTED", "PRICED", "READY", "PAID", "LAPSED", "REFUSED"),
    "reservation": ("HELD", "COMMITTED", "RELEASED", "REFUSED"),
}


def upgrade() -> None:
    """Creates everything that has a life of its own."""
    _create_deposits()
    _create_withdrawals()
    _create_reservations()
    _create_coverage()
    _create_reports()


def _state(table: str) -> sa.CheckConstraint:
    values = ", ".join(f"'{state}'" for state in _STATES[table])
    return sa.CheckConstraint(f"state IN ({values})", name=f"{table}_state")


def _create_deposits() -> None:
    op.create_table(
        "deposit",
        key("id"),
        text("provider"),
        *tier_and_token("deposit"),
        big("amount"),
        text("state"),
        big("shares"),
        text("txid"),
        big("burn_height"),
        text("withdrawal_id", nullable=True),
        moment("final_market_time"),
        *_price_columns(),
        moment("create_time"),
        _state("deposit"),
        sa.CheckConstraint("amount > 0 AND shares >= 0", name="deposit_amounts"),
        schema=SCHEMA,
    )
    unpriced = sa.text("state = 'FINAL'")
    op.create_index("deposit_unpriced", "deposit", ["provider"], schema=SCHEMA, postgresql_where=unpriced)


def _price_columns() -> list[sa.Column[int]]:
    return [big("btc_round"), big("stx_round"), big("btc_price_e8"), big("stx_price_e8")]


def _create_withdrawals() -> None:
    op.create_table(
        "withdrawal",
        key("id"),
        text("provider"),
        *tier_and_token("withdrawal"),
        big("shares"),
        text("state"),
        big("amount"),
        big("voucher_expiration_burn_height"),
        big("last_use_burn_height"),
        binary("public_key"),
        binary("signature"),
        binary("prepared_transaction"),
        text("reason"),
        text("txid"),
        moment("request_market_time"),
        *_price_columns(),
        moment("create_time"),
        _state("withdrawal"),
        sa.CheckConstraint("shares > 0 AND amount >= 0", name="withdrawal_amounts"),
        schema=SCHEMA,
    )
    requested = sa.text("state = 'REQUESTED'")
    op.create_index("withdrawal_requested", "withdrawal", ["provider"], schema=SCHEMA, postgresql_where=requested)
    payable = sa.text("state IN ('PRICED', 'READY')")
    op.create_index(
        "withdrawal_payable", "withdrawal", ["last_use_burn_height"], schema=SCHEMA, postgresql_where=payable
    )


def _create_reservations() -> None:
    op.create_table(
        "reservation",
        key("policy_id"),
        text("holder"),
        *tier_and_token("reservation"),
        big("max_payout"),
        big("quote_expiration_burn_height"),
        binary("terms_sha256"),
        text("state"),
        text("reason"),
        moment("create_time"),
        moment("end_time", nullable=True),
        _state("reservation"),
        sa.CheckConstraint("max_payout >= 0", name="reservation_max_payout"),
        schema=SCHEMA,
    )
    held = sa.text("state = 'HELD'")
    for name, columns in (
        ("reservation_held", ["tier", "token"]),
        ("reservation_held_by", ["holder"]),
        ("reservation_due", ["quote_expiration_burn_height"]),
    ):
        op.create_index(name, "reservation", columns, schema=SCHEMA, postgresql_where=held)


def _create_coverage() -> None:
    op.create_table(
        "coverage",
        key("policy_id"),
        big("onchain_id"),
        *tier_and_token("coverage"),
        *map(big, ("amount_sats", "strike_e8", "floor_e8", "max_payout", "premium")),
        *map(big, ("created_burn_height", "expiration_burn_height")),
        text("status"),
        big("payout"),
        big("ended_burn_height", nullable=True),
        sa.CheckConstraint("status IN ('ACTIVE', 'SETTLED', 'EXPIRED', 'REVERSED')", name="coverage_status"),
        sa.CheckConstraint("payout BETWEEN 0 AND max_payout", name="coverage_payout"),
        sa.CheckConstraint("(status = 'ACTIVE') = (ended_burn_height IS NULL)", name="coverage_ended"),
        schema=SCHEMA,
    )
    is_open = sa.text("status = 'ACTIVE'")
    op.create_index(
        "coverage_open", "coverage", ["tier", "token", "strike_e8"], schema=SCHEMA, postgresql_where=is_open
    )
    op.create_index("coverage_onchain_id", "coverage", ["onchain_id"], schema=SCHEMA)


def _create_reports() -> None:
    op.create_table(
        "unknown_event",
        serial(),
        sa.Column("cause", sa.Text, nullable=False),
        big("burn_height"),
        text("reason"),
        binary("event"),
        moment("create_time"),
        schema=SCHEMA,
    )
    op.create_table(
        "reconciliation",
        key("id"),
        text("block_hash"),
        big("burn_height"),
        sa.Column("differences", JSONB, nullable=False),
        sa.Column("policies_compared", sa.Integer, nullable=False),
        sa.Column("accounts_compared", sa.Integer, nullable=False),
        moment("create_time"),
        schema=SCHEMA,
    )
    op.create_index("reconciliation_latest", "reconciliation", ["create_time"], schema=SCHEMA)

"""Finds the receipts that refer to a time, so that what they were made from is kept."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An index over a function of columns that are there: every release's receipts are found by it."""
    # From the request, or the longest window of an average, to the last round of that: market time in seconds.
    op.execute(
        """
        CREATE FUNCTION oracle.receipt_evidence(requested timestamptz, observed bigint, btc bigint[], stx bigint[])
        RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT int8range(
                LEAST(btc[1], stx[1], observed - 7200, (extract(epoch FROM requested AT TIME ZONE 'UTC'))::bigint - 1),
                GREATEST(btc[cardinality(btc)], stx[cardinality(stx)], observed + 1800),
                '[]'
            )
        $$
        """
    )
    op.execute(
        "CREATE INDEX receipt_evidence ON oracle.receipt USING gist"
        " (oracle.receipt_evidence(request_market_time, observe_seconds, btc_rounds, stx_rounds))"
    )


def downgrade() -> None:
    """Drops both."""
    op.execute("DROP INDEX oracle.receipt_evidence")
    op.execute("DROP FUNCTION oracle.receipt_evidence")

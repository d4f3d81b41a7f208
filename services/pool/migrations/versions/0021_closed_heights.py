"""Closed heights: what every account, and every provider's shares, came to when a height was closed.

A closing is never changed. An entry that comes afterwards for a height that is closed is noted as late: it counts
beside the closings that were made without it, and the next closing takes it in.

Safe for the release before: the triggers note what is late, whoever posts, and that release closes nothing.

Revision ID: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big, key

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# By index whatever the planner knows of the tables, as revision 0007 says.
_BY_INDEX = " ".join(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))
_DERIVED = ("account_closing", "share_closing", "late_entry")
# Whoever posts shares it until the end of the transaction; whoever closes has it alone. A lock of a table would make
# all postings wait for as long as a vacuum of that table takes.
_LOCK = "hashtextextended('pool closing', 0)"


def upgrade() -> None:
    """The tables, what keeps them, and a rebuild that makes them anew."""
    op.create_table("closing", sa.Column("burn_height", sa.BigInteger, primary_key=True), schema=SCHEMA)
    op.create_table(
        "account_closing",
        key("account"),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        sa.Column("burn_height", sa.BigInteger, primary_key=True),
        big("balance"),
        schema=SCHEMA,
    )
    op.create_table(
        "share_closing",
        key("provider"),
        sa.Column("tier", sa.SmallInteger, primary_key=True),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        sa.Column("burn_height", sa.BigInteger, primary_key=True),
        big("shares"),
        schema=SCHEMA,
    )
    op.create_table(
        "late_entry",
        sa.Column("entry_id", sa.BigInteger, primary_key=True),
        big("burn_height"),
        # The last height that was closed when it came.
        big("closed_burn_height"),
        schema=SCHEMA,
    )
    op.create_index("late_entry_closed", "late_entry", ["closed_burn_height", "burn_height"], schema=SCHEMA)
    op.create_index(
        "statement_line_share_heights",
        "statement_line",
        ["provider", "tier", "token", "burn_height"],
        schema=SCHEMA,
        postgresql_where=sa.text("shares_delta <> 0"),
    )
    for statement in (*_CLOSE, _NOTE_LATE, *_guards(), *_SAID_AGAIN, *_REBUILD):
        op.execute(statement)


# Entries that came after the heights were chosen, for a height between two of them, count to the later one.
_ENTRIES = """(
            SELECT id AS entry_id FROM pool.journal_entry WHERE burn_height > before AND burn_height <= NEW.burn_height
            UNION ALL SELECT entry_id FROM pool.late_entry WHERE closed_burn_height = before
        )"""
_CLOSE = (
    f"""CREATE FUNCTION pool.close_height() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE before bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock({_LOCK});
        IF EXISTS (SELECT FROM pool.closing WHERE burn_height > NEW.burn_height) THEN
            RAISE EXCEPTION 'height % is closed already', NEW.burn_height USING ERRCODE = 'restrict_violation';
        END IF;
        SELECT coalesce(max(burn_height), -1) INTO before FROM pool.closing WHERE burn_height < NEW.burn_height;
        INSERT INTO pool.account_closing
        SELECT account, token, NEW.burn_height, moved.amount + coalesce((
            SELECT balance FROM pool.account_closing c WHERE c.account = moved.account AND c.token = moved.token
            ORDER BY burn_height DESC LIMIT 1
        ), 0)
        FROM (
            SELECT account, token, sum(amount) AS amount
            FROM {_ENTRIES} e JOIN pool.posting USING (entry_id) GROUP BY account, token
        ) AS moved;
        INSERT INTO pool.share_closing
        SELECT provider, tier, token, NEW.burn_height, moved.shares + coalesce((
            SELECT shares FROM pool.share_closing c
            WHERE c.provider = moved.provider AND c.tier = moved.tier AND c.token = moved.token
            ORDER BY burn_height DESC LIMIT 1
        ), 0)
        FROM (
            SELECT provider, tier, token, sum(shares_delta) AS shares
            FROM {_ENTRIES} e JOIN pool.statement_line USING (entry_id)
            WHERE shares_delta <> 0 GROUP BY provider, tier, token
        ) AS moved;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER closing_made AFTER INSERT ON pool.closing
    FOR EACH ROW EXECUTE FUNCTION pool.close_height()""",
)
# The lock comes first, by a statement of its own: what follows sees all that was closed by then.
_NOTE_LATE = f"""CREATE OR REPLACE FUNCTION pool.check_entry_whole() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong bigint;
    BEGIN
        SELECT id INTO wrong FROM added a
        WHERE (a.kind <> 'SHARES_CONSOLIDATED') <> EXISTS (SELECT FROM pool.posting p WHERE p.entry_id = a.id) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % has no postings, or some that its kind cannot have', wrong
            USING ERRCODE = 'check_violation';
        END IF;
        PERFORM pg_advisory_xact_lock_shared({_LOCK});
        INSERT INTO pool.late_entry
        SELECT a.id, a.burn_height, closed.burn_height
        FROM (SELECT max(burn_height) AS burn_height FROM pool.closing) AS closed
        JOIN added a ON a.burn_height <= closed.burn_height;
        RETURN NULL;
    END $$"""


def _guards() -> tuple[str, ...]:
    """A height is closed once and for all; what that gives is written by triggers alone."""
    closed = """CREATE TRIGGER closing_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pool.closing
        FOR EACH STATEMENT EXECUTE FUNCTION pool.refuse_change()"""
    return closed, *(
        f"""CREATE TRIGGER {table}_derived BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pool.{table}
        FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION pool.refuse_derived()"""
        for table in _DERIVED
    )


# The closing that an entry is in first: of its height, or the next one made after it came.
_SAID_AGAIN = (
    """CREATE VIEW pool.closed_entry AS
    SELECT id AS entry_id, CASE WHEN entry_id IS NULL
        THEN (SELECT min(c.burn_height) FROM pool.closing c WHERE c.burn_height >= e.burn_height)
        ELSE (SELECT min(c.burn_height) FROM pool.closing c WHERE c.burn_height > closed_burn_height)
    END AS burn_height
    FROM pool.journal_entry e LEFT JOIN pool.late_entry l ON l.entry_id = e.id""",
    """CREATE VIEW pool.account_closing_again AS
    SELECT account, token, c.burn_height,
        (sum(sum(amount)) OVER (PARTITION BY account, token ORDER BY c.burn_height))::bigint AS balance
    FROM pool.closed_entry c JOIN pool.posting USING (entry_id)
    WHERE c.burn_height IS NOT NULL GROUP BY account, token, c.burn_height""",
    """CREATE VIEW pool.share_closing_again AS
    SELECT provider, tier, token, c.burn_height,
        (sum(sum(shares_delta)) OVER (PARTITION BY provider, tier, token ORDER BY c.burn_height))::bigint AS shares
    FROM pool.closed_entry c JOIN pool.statement_line USING (entry_id)
    WHERE c.burn_height IS NOT NULL AND shares_delta <> 0 GROUP BY provider, tier, token, c.burn_height""",
)
# Made anew, closings know what came late: nothing is late any more.
_REBUILD = (
    f"""CREATE FUNCTION pool.rebuild_closings() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock({_LOCK});
        {"".join(f"ALTER TABLE pool.{table} DISABLE TRIGGER {table}_derived; " for table in _DERIVED)}
        {"".join(f"DELETE FROM pool.{table}; " for table in _DERIVED)}
        INSERT INTO pool.account_closing SELECT * FROM pool.account_closing_again;
        INSERT INTO pool.share_closing SELECT * FROM pool.share_closing_again;
        {"".join(f"ALTER TABLE pool.{table} ENABLE TRIGGER {table}_derived; " for table in _DERIVED)}
    END $$""",
    "ALTER FUNCTION pool.rebuild_derived() RENAME TO rebuild_sums_and_heights",
    """CREATE FUNCTION pool.rebuild_derived() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pool.rebuild_sums_and_heights();
        PERFORM pool.rebuild_closings();
    END $$""",
)

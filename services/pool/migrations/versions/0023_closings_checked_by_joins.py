"""The check of closings joins entries with closed heights, instead of looking for the closing of each posting.

For that, an entry for a height that was passed over, which had none when the next one was chosen, is noted as late like
any other. Safe for the release before: for what it reads, such an entry is in the closing that passed it over.

Revision ID: 0023
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# By index whatever the planner knows of the tables, as revision 0007 says.
_BY_INDEX = " ".join(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))
_DERIVED = ("account_closing", "share_closing", "late_entry")
_LOCK = "hashtextextended('pool closing', 0)"


def upgrade() -> None:
    """The view, both functions, and the closings made anew."""
    for statement in (_CLOSED_ENTRY, _CLOSE, _REBUILD, "SELECT pool.rebuild_closings()"):
        op.execute(statement)


# The closing that an entry is in first: of its height, or the next one made after it came.
_CLOSED_ENTRY = """CREATE OR REPLACE VIEW pool.closed_entry AS
    SELECT id AS entry_id, burn_height FROM pool.journal_entry e JOIN pool.closing USING (burn_height)
    WHERE NOT EXISTS (SELECT FROM pool.late_entry l WHERE l.entry_id = e.id)
    UNION ALL
    SELECT entry_id, (SELECT min(c.burn_height) FROM pool.closing c WHERE c.burn_height > closed_burn_height)
    FROM pool.late_entry"""
_ENTRIES = """(
            SELECT id AS entry_id FROM pool.journal_entry WHERE burn_height > before AND burn_height <= NEW.burn_height
            UNION ALL SELECT entry_id FROM pool.late_entry WHERE closed_burn_height = before
        )"""
_CLOSE = f"""CREATE OR REPLACE FUNCTION pool.close_height() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
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
        INSERT INTO pool.late_entry SELECT id, burn_height, before FROM pool.journal_entry
        WHERE burn_height > before AND burn_height < NEW.burn_height;
        RETURN NULL;
    END $$"""
# Made anew, closings know what came late: only entries of heights that are not closed themselves stay so.
_REBUILD = f"""CREATE OR REPLACE FUNCTION pool.rebuild_closings() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock({_LOCK});
        {"".join(f"ALTER TABLE pool.{table} DISABLE TRIGGER {table}_derived; " for table in _DERIVED)}
        {"".join(f"DELETE FROM pool.{table}; " for table in _DERIVED)}
        INSERT INTO pool.late_entry
        SELECT id, burn_height,
            coalesce((SELECT max(c.burn_height) FROM pool.closing c WHERE c.burn_height < e.burn_height), -1)
        FROM pool.journal_entry e WHERE burn_height <= (SELECT max(burn_height) FROM pool.closing)
            AND NOT EXISTS (SELECT FROM pool.closing c WHERE c.burn_height = e.burn_height);
        INSERT INTO pool.account_closing SELECT * FROM pool.account_closing_again;
        INSERT INTO pool.share_closing SELECT * FROM pool.share_closing_again;
        {"".join(f"ALTER TABLE pool.{table} ENABLE TRIGGER {table}_derived; " for table in _DERIVED)}
    END $$"""

"""An entry and all that belongs to it come by one statement, and are checked once per statement.

Safe for the release before: it posts by one statement.

Revision ID: 0008
"""

from __future__ import annotations

from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# By index whatever the planner knows of the tables, as revision 0007 says; for a few rows each time, a bitmap is waste.
_BY_INDEX = " ".join(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))


def upgrade() -> None:
    """Checks per statement in place of a foreign key and a deferred trigger, which cost a query for each row."""
    op.drop_constraint("posting_entry_id_fkey", "posting", schema=SCHEMA)
    for statement in (*_WHOLE, _POSTINGS, _HEIGHTS):
        op.execute(statement)


_WHOLE = (
    "DROP TRIGGER journal_entry_whole ON pool.journal_entry",
    f"""CREATE OR REPLACE FUNCTION pool.check_entry_whole() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong bigint;
    BEGIN
        SELECT id INTO wrong FROM added a
        WHERE NOT EXISTS (SELECT FROM pool.posting p WHERE p.entry_id = a.id) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % has no postings', wrong USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER journal_entry_whole AFTER INSERT ON pool.journal_entry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION pool.check_entry_whole()""",
)
# No entry is ever deleted, so that it is enough to look for it when its postings come.
_POSTINGS = f"""CREATE OR REPLACE FUNCTION pool.take_in_postings() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong record;
    BEGIN
        SELECT a.entry_id, a.balanced, e.id IS NOT NULL AS known INTO wrong
        FROM (
            SELECT entry_id, sum(number) AS number, bool_and(total = 0) AS balanced
            FROM (SELECT entry_id, token, count(*) AS number, sum(amount) AS total FROM added GROUP BY 1, 2) AS by_token
            GROUP BY entry_id
        ) AS a LEFT JOIN pool.journal_entry e ON e.id = a.entry_id
        WHERE NOT a.balanced OR e.id IS NULL
            OR a.number <> (SELECT count(*) FROM pool.posting p WHERE p.entry_id = a.entry_id)
        LIMIT 1;
        IF NOT FOUND THEN
            INSERT INTO pool.account_balance AS b (account, token, balance)
            SELECT account, token, sum(amount) FROM added GROUP BY account, token ORDER BY account, token
            ON CONFLICT (account, token) DO UPDATE SET balance = b.balance + EXCLUDED.balance;
            RETURN NULL;
        ELSIF NOT wrong.known THEN
            RAISE EXCEPTION 'there is no journal entry %', wrong.entry_id USING ERRCODE = 'foreign_key_violation';
        ELSIF NOT wrong.balanced THEN
            RAISE EXCEPTION 'journal entry % does not sum to zero', wrong.entry_id USING ERRCODE = 'check_violation';
        END IF;
        RAISE EXCEPTION 'journal entry % has its postings already', wrong.entry_id
        USING ERRCODE = 'restrict_violation';
    END $$"""
_HEIGHTS = "ALTER FUNCTION pool.take_in_heights() SET enable_bitmapscan = off"

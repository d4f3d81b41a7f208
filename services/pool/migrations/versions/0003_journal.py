"""Entries are taken in as a whole, carry what they are about, and what is derived from them is nobody else's to write.

Safe for the release before: it inserts all postings of an entry by one statement, and writes no derived table itself.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big, text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DERIVED = ("account_balance", "share_balance", "tier_shares")


def upgrade() -> None:
    """Columns, sums per tier, and triggers per statement in place of those per row."""
    op.add_column("journal_entry", text("subject", nullable=True), schema=SCHEMA)
    op.add_column("journal_entry", text("author", nullable=True), schema=SCHEMA)
    op.create_index("journal_entry_subject", "journal_entry", ["subject", "id"], schema=SCHEMA)
    op.create_table(
        "tier_shares",
        sa.Column("tier", sa.SmallInteger, primary_key=True),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        big("shares"),
        sa.CheckConstraint("shares >= 0", name="tier_shares_not_negative"),
        schema=SCHEMA,
    )
    op.execute("INSERT INTO pool.tier_shares SELECT tier, token, sum(shares) FROM pool.share_balance GROUP BY 1, 2")
    for statement in (*_FORMER, *_POSTINGS, *_WHOLE, *_SHARES, *_guards(), _REBUILD):
        op.execute(statement)


_FORMER = (
    "DROP TRIGGER posting_balanced ON pool.posting",
    "DROP TRIGGER posting_balance ON pool.posting",
    "DROP TRIGGER statement_line_shares ON pool.statement_line",
    "DROP FUNCTION pool.check_entry_balanced()",
    "DROP FUNCTION pool.add_to_balance()",
    "DROP FUNCTION pool.add_to_shares()",
)
# All postings of an entry come by one statement, sum to zero per token, and none can follow.
_POSTINGS = (
    """CREATE FUNCTION pool.take_in_postings() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE wrong bigint;
    BEGIN
        SELECT entry_id INTO wrong FROM added GROUP BY entry_id, token HAVING sum(amount) <> 0 LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % does not sum to zero', wrong USING ERRCODE = 'check_violation';
        END IF;
        SELECT p.entry_id INTO wrong
        FROM pool.posting p JOIN (SELECT entry_id, count(*) AS number FROM added GROUP BY entry_id) a USING (entry_id)
        GROUP BY p.entry_id, a.number HAVING count(*) <> a.number LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % has its postings already', wrong USING ERRCODE = 'restrict_violation';
        END IF;
        INSERT INTO pool.account_balance AS b (account, token, balance)
        SELECT account, token, sum(amount) FROM added GROUP BY account, token ORDER BY account, token
        ON CONFLICT (account, token) DO UPDATE SET balance = b.balance + EXCLUDED.balance;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER posting_taken_in AFTER INSERT ON pool.posting REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION pool.take_in_postings()""",
)
# At commit no entry is without postings.
_WHOLE = (
    """CREATE FUNCTION pool.check_entry_whole() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT 1 FROM pool.posting WHERE entry_id = NEW.id) THEN
            RAISE EXCEPTION 'journal entry % has no postings', NEW.id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE CONSTRAINT TRIGGER journal_entry_whole AFTER INSERT ON pool.journal_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pool.check_entry_whole()""",
)
# An update first: its check on the sum is the one that counts, where an insert's would see the change alone.
_SHARES = (
    """CREATE FUNCTION pool.take_in_lines() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE change record;
    BEGIN
        FOR change IN
            SELECT tier, token, provider, sum(shares_delta) AS delta FROM added
            GROUP BY tier, token, provider HAVING sum(shares_delta) <> 0 ORDER BY tier, token, provider
        LOOP
            UPDATE pool.share_balance SET shares = shares + change.delta
            WHERE tier = change.tier AND token = change.token AND provider = change.provider;
            IF NOT FOUND THEN
                INSERT INTO pool.share_balance AS b VALUES (change.tier, change.token, change.provider, change.delta)
                ON CONFLICT (tier, token, provider) DO UPDATE SET shares = b.shares + change.delta;
            END IF;
            UPDATE pool.tier_shares SET shares = shares + change.delta
            WHERE tier = change.tier AND token = change.token;
            IF NOT FOUND THEN
                INSERT INTO pool.tier_shares AS t VALUES (change.tier, change.token, change.delta)
                ON CONFLICT (tier, token) DO UPDATE SET shares = t.shares + change.delta;
            END IF;
        END LOOP;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER statement_line_taken_in AFTER INSERT ON pool.statement_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION pool.take_in_lines()""",
)


def _guards() -> tuple[str, ...]:
    """Only the triggers above write what is derived."""
    refuse = """CREATE FUNCTION pool.refuse_derived() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is derived: post an entry', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$"""
    return refuse, *(
        f"""CREATE TRIGGER {table}_derived BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pool.{table}
        FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION pool.refuse_derived()"""
        for table in _DERIVED
    )


# By hand, after a restore or a check that failed; nobody posts meanwhile.
_REBUILD = f"""CREATE FUNCTION pool.rebuild_derived() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        LOCK TABLE pool.posting, pool.statement_line IN SHARE MODE;
        {"".join(f"ALTER TABLE pool.{table} DISABLE TRIGGER {table}_derived; " for table in _DERIVED)}
        {"".join(f"DELETE FROM pool.{table}; " for table in _DERIVED)}
        INSERT INTO pool.account_balance SELECT account, token, sum(amount) FROM pool.posting GROUP BY 1, 2;
        INSERT INTO pool.share_balance SELECT tier, token, provider, sum(shares_delta)
        FROM pool.statement_line GROUP BY 1, 2, 3 HAVING count(*) FILTER (WHERE shares_delta <> 0) > 0;
        INSERT INTO pool.tier_shares SELECT tier, token, sum(shares) FROM pool.share_balance GROUP BY 1, 2;
        {"".join(f"ALTER TABLE pool.{table} ENABLE TRIGGER {table}_derived; " for table in _DERIVED)}
    END $$"""

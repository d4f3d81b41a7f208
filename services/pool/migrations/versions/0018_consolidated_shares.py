"""Shares that are worth next to nothing are made fewer by an entry that moves no money; and why a deposit waits.

Safe for the release before: it makes no such entry, and what it leaves out is empty.

Revision ID: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The one kind of entry without postings, kept in what is derived and told to every holder; one column."""
    waits = sa.Column("wait_reason", sa.Text, nullable=False, server_default="")
    op.add_column("deposit", waits, schema=SCHEMA)
    for statement in (_WHOLE, *_HEIGHTS, *_TOLD, *_TOLD_OF_WAITING):
        op.execute(statement)


# By index whatever the planner knows of the tables, as revision 0007 says.
_BY_INDEX = " ".join(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))
_WHOLE = f"""CREATE OR REPLACE FUNCTION pool.check_entry_whole() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong bigint;
    BEGIN
        SELECT id INTO wrong FROM added a
        WHERE (a.kind <> 'SHARES_CONSOLIDATED') <> EXISTS (SELECT FROM pool.posting p WHERE p.entry_id = a.id) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % has no postings, or some that its kind cannot have', wrong
            USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$"""
# How a tier stands follows postings; here there are none.
_HEIGHTS = (
    f"""CREATE FUNCTION pool.take_in_consolidation() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE change record;
    BEGIN
        FOR change IN
            SELECT l.tier, l.token, l.burn_height, sum(l.shares_delta) AS shares
            FROM added l WHERE l.kind = 'shares consolidated' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        LOOP
            INSERT INTO pool.tier_height
            SELECT tier, token, change.burn_height, capital, all_shares, premiums_per_share_e36, payouts_per_share_e36
            FROM (SELECT * FROM pool.tier_height
                WHERE tier = change.tier AND token = change.token AND burn_height <= change.burn_height
                ORDER BY burn_height DESC LIMIT 1) AS before
            ON CONFLICT DO NOTHING;
            UPDATE pool.tier_height SET all_shares = all_shares + change.shares
            WHERE tier = change.tier AND token = change.token AND burn_height >= change.burn_height;
        END LOOP;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER statement_line_tier_height AFTER INSERT ON pool.statement_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION pool.take_in_consolidation()""",
)
_TOLD = (
    """CREATE FUNCTION pool.tell_of_consolidation() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE told pool.feed;
    BEGIN
        told.kind := 'SHARES_CONSOLIDATED';
        told.principal := NEW.provider;
        told.tier := NEW.tier;
        told.token := NEW.token;
        told.amount := 0;
        told.shares := -NEW.shares_delta;
        told.burn_height := NEW.burn_height;
        SELECT e.reason INTO told.reason FROM pool.journal_entry e WHERE e.id = NEW.entry_id;
        PERFORM pool.tell(told);
        RETURN NULL;
    END $$""",
    """CREATE CONSTRAINT TRIGGER consolidation_told_of AFTER INSERT ON pool.statement_line
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind = 'shares consolidated')
    EXECUTE FUNCTION pool.tell_of_consolidation()""",
)
_TOLD_OF_WAITING = (
    """CREATE FUNCTION pool.tell_of_waiting() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE told pool.feed;
    BEGIN
        told.kind := 'DEPOSIT_WAITING';
        told.principal := NEW.provider;
        told.deposit_id := NEW.id;
        told.tier := NEW.tier;
        told.token := NEW.token;
        told.amount := NEW.amount;
        told.shares := 0;
        told.txid := NEW.txid;
        told.reason := NEW.wait_reason;
        PERFORM pool.tell(told);
        RETURN NULL;
    END $$""",
    """CREATE CONSTRAINT TRIGGER deposit_waiting_told_of AFTER UPDATE ON pool.deposit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.wait_reason <> NEW.wait_reason AND NEW.wait_reason <> '')
    EXECUTE FUNCTION pool.tell_of_waiting()""",
)

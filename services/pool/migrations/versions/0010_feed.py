"""What providers are told, written by triggers with each change of a deposit or withdrawal; and what retention needs.

Safe for the release before: its changes are told too, whoever makes them. Nothing is told of what was before.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big, moment, serial, text, tier_and_token

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The feed, its sequence and triggers; indexes to find what is kept for a time only."""
    op.create_table(
        "feed",
        serial(),
        text("principal"),
        text("kind"),
        *(text(name, nullable=True) for name in ("deposit_id", "withdrawal_id")),
        text("part_of"),
        *tier_and_token("feed"),
        *(big(name) for name in ("amount", "shares")),
        moment("time"),
        big("burn_height"),
        *(text(name) for name in ("txid", "reason")),
        big("number", nullable=True),
        schema=SCHEMA,
    )
    op.create_index("feed_number_index", "feed", ["number"], unique=True, schema=SCHEMA)
    op.create_index("feed_principal_index", "feed", ["principal", "number"], schema=SCHEMA)
    op.create_index("feed_waiting_index", "feed", ["id"], schema=SCHEMA, postgresql_where=sa.text("number IS NULL"))
    for statement in (_SEQUENCE, _TELL, *_DEPOSITS, *_WITHDRAWALS):
        op.execute(statement)
    delivered = sa.text("deliver_time IS NOT NULL")
    op.create_index("outbox_delivered", "outbox", ["deliver_time"], schema=SCHEMA, postgresql_where=delivered)
    op.create_index("request_time", "request", ["create_time"], schema=SCHEMA)


# A million for each second since 1970: no feed gets so many lines, and the numbers of a schema that is made anew are
# above all that this one gives.
_SEQUENCE = """DO $$ BEGIN
    EXECUTE format('CREATE SEQUENCE pool.feed_number START WITH %s', (extract(epoch FROM now()) * 1e6)::bigint);
END $$"""


# At commit, when the entry of the cause is there and the books stand where they will, whatever was written first.
def _at_commit(name: str, change: str, table: str, condition: str = "") -> str:
    return f"""CREATE CONSTRAINT TRIGGER {name} AFTER {change} ON pool.{table} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW {condition} EXECUTE FUNCTION pool.tell_of_{table}()"""


_TELL = """CREATE FUNCTION pool.tell(told pool.feed) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO pool.feed (principal, kind, deposit_id, withdrawal_id, part_of, tier, token, amount, shares, time,
            burn_height, txid, reason)
        SELECT told.principal, told.kind, told.deposit_id, told.withdrawal_id, coalesce(told.part_of, ''), told.tier,
            told.token, told.amount, told.shares, now(),
            coalesce(told.burn_height, (SELECT projected_burn_height FROM pool.cursor WHERE name = 'chain'), 0),
            coalesce(told.txid, ''), coalesce(told.reason, '');
        PERFORM pg_notify('pool_changes', '');
    END $$"""
_NO_LONGER_FINAL = "OLD.state <> NEW.state AND NEW.state IN ('PRICED', 'REVERSED')"
# The amount of a voucher that has ended re-enters as a deposit; that it has ended is told already.
_DEPOSITS = (
    """CREATE FUNCTION pool.tell_of_deposit() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE told pool.feed;
    BEGIN
        told.kind := 'DEPOSIT_' || NEW.state;
        told.principal := NEW.provider;
        told.deposit_id := NEW.id;
        told.tier := NEW.tier;
        told.token := NEW.token;
        told.amount := NEW.amount;
        told.shares := NEW.shares;
        told.txid := NEW.txid;
        IF TG_OP = 'INSERT' THEN
            told.burn_height := NEW.burn_height;
        END IF;
        PERFORM pool.tell(told);
        RETURN NULL;
    END $$""",
    _at_commit("deposit_told_of", "INSERT", "deposit", "WHEN (NEW.state = 'FINAL' AND NEW.withdrawal_id IS NULL)"),
    _at_commit("deposit_change_told_of", "UPDATE", "deposit", f"WHEN ({_NO_LONGER_FINAL})"),
)
_CHANGED = "OLD.state <> NEW.state OR OLD.last_use_burn_height <> NEW.last_use_burn_height"
# An event's entry knows its height and transaction; found by index whatever the planner knows, as revision 0007 says.
_WITHDRAWALS = (
    """CREATE FUNCTION pool.tell_of_withdrawal() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    DECLARE told pool.feed;
    BEGIN
        told.principal := NEW.provider;
        told.withdrawal_id := NEW.id;
        told.part_of := NEW.part_of;
        told.tier := NEW.tier;
        told.token := NEW.token;
        told.amount := NEW.amount;
        told.shares := NEW.shares - NEW.filled_shares;
        IF TG_OP = 'INSERT' THEN
            told.kind := CASE WHEN NEW.part_of = '' THEN 'WITHDRAWAL_REQUESTED' ELSE 'WITHDRAWAL_PARTLY_FILLED' END;
            PERFORM pool.tell(told);
            RETURN NULL;
        END IF;
        IF OLD.state IN ('PRICED', 'READY') AND OLD.last_use_burn_height <> NEW.last_use_burn_height THEN
            told.kind := CASE WHEN NEW.last_use_burn_height = NEW.voucher_expiration_burn_height
                THEN 'WITHDRAWAL_DELAY_REVERSED' ELSE 'WITHDRAWAL_DELAYED' END;
            PERFORM pool.tell(told);
        END IF;
        told.kind := CASE
            WHEN OLD.state = NEW.state THEN NULL
            WHEN OLD.state = 'PAID' AND NEW.state = 'READY' THEN 'WITHDRAWAL_PAYMENT_REVERSED'
            WHEN NEW.state = 'LAPSED' AND NEW.reason = 'VOUCHER_VETOED' THEN 'WITHDRAWAL_VETOED'
            WHEN NEW.state IN ('READY', 'PAID', 'LAPSED', 'CANCELLED', 'REFUSED') THEN 'WITHDRAWAL_' || NEW.state
        END;
        IF told.kind IS NULL THEN
            RETURN NULL;
        END IF;
        IF NEW.state IN ('PAID', 'LAPSED') THEN
            SELECT e.burn_height, e.txid INTO told.burn_height, told.txid FROM pool.journal_entry e
            WHERE e.subject = 'withdrawals/' || NEW.id AND e.kind IN ('WITHDRAWAL_PAID', 'VOUCHER_ENDED')
            ORDER BY e.id DESC LIMIT 1;
        ELSIF NEW.state = 'READY' AND OLD.state = 'PAID' THEN
            told.txid := OLD.txid;
        ELSIF NEW.state = 'REFUSED' THEN
            told.reason := NEW.reason;
        END IF;
        PERFORM pool.tell(told);
        RETURN NULL;
    END $$""",
    _at_commit("withdrawal_told_of", "INSERT", "withdrawal"),
    _at_commit("withdrawal_change_told_of", "UPDATE", "withdrawal", f"WHEN ({_CHANGED})"),
)

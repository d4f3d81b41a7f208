"""Ledger, statement, and what keeps them balanced and append-only.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from services.pool.migrations.columns import SCHEMA, big, binary, key, moment, serial, small, text, tier_and_token

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates everything that entries are made of."""
    _create_machinery()
    _create_ledger()
    _create_postings()
    _create_statement()
    for statement in (*_BALANCED, *_BALANCES, *_APPEND_ONLY):
        op.execute(statement)


def _create_machinery() -> None:
    op.create_table(
        "request",
        key("principal"),
        key("method"),
        key("request_id"),
        binary("body_sha256"),
        binary("response", nullable=True),
        moment("create_time"),
        schema=SCHEMA,
    )
    op.create_table(
        "outbox",
        serial(),
        text("kind"),
        text("key"),
        sa.Column("payload", JSONB, nullable=False),
        moment("create_time"),
        moment("due_time"),
        moment("deliver_time", nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        text("last_error"),
        schema=SCHEMA,
    )
    pending = sa.text("deliver_time IS NULL")
    op.create_index("outbox_pending", "outbox", ["due_time", "id"], schema=SCHEMA, postgresql_where=pending)
    op.create_table("lease", key("name"), text("holder"), big("epoch"), moment("expire_time"), schema=SCHEMA)
    op.create_table(
        "cursor",
        key("name"),
        text("cursor"),
        big("projected_burn_height"),
        moment("market_time", nullable=True),
        text("halt_reason"),
        moment("update_time"),
        schema=SCHEMA,
    )
    op.execute("INSERT INTO pool.cursor VALUES ('chain', '', 0, NULL, '', now())")


def _create_ledger() -> None:
    op.create_table(
        "tier_lock",
        sa.Column("tier", sa.SmallInteger, primary_key=True),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        schema=SCHEMA,
    )
    op.execute(
        "INSERT INTO pool.tier_lock SELECT tier, token FROM generate_series(1, 3) tier, generate_series(1, 2) token"
    )
    op.create_table(
        "journal_entry",
        serial(),
        sa.Column("cause", sa.Text, nullable=False, unique=True),
        text("event"),
        text("kind"),
        big("burn_height"),
        moment("time"),
        text("txid"),
        text("reason"),
        sa.Column("reverses", sa.BigInteger, sa.ForeignKey("pool.journal_entry.id"), nullable=True, unique=True),
        schema=SCHEMA,
    )
    op.create_index("journal_entry_event", "journal_entry", ["event"], schema=SCHEMA)
    op.create_index("journal_entry_burn_height", "journal_entry", ["burn_height"], schema=SCHEMA)


def _create_postings() -> None:
    op.create_table(
        "posting",
        serial(),
        sa.Column("entry_id", sa.BigInteger, sa.ForeignKey("pool.journal_entry.id"), nullable=False),
        text("account"),
        small("token"),
        big("amount"),
        sa.CheckConstraint("amount <> 0", name="posting_amount"),
        sa.CheckConstraint("token BETWEEN 1 AND 2", name="posting_token"),
        sa.UniqueConstraint("entry_id", "account", "token", name="posting_once"),
        schema=SCHEMA,
    )
    op.create_table(
        "account_balance",
        key("account"),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        big("balance"),
        schema=SCHEMA,
    )


def _create_statement() -> None:
    op.create_table(
        "statement_line",
        serial(),
        sa.Column("entry_id", sa.BigInteger, sa.ForeignKey("pool.journal_entry.id"), nullable=False),
        text("provider"),
        text("kind"),
        *tier_and_token("statement_line"),
        big("amount"),
        big("shares_delta"),
        text("txid"),
        big("burn_height"),
        moment("time"),
        schema=SCHEMA,
    )
    op.create_index("statement_line_provider", "statement_line", ["provider", "id"], schema=SCHEMA)
    op.create_index("statement_line_entry", "statement_line", ["entry_id"], schema=SCHEMA)
    op.create_table(
        "share_balance",
        sa.Column("tier", sa.SmallInteger, primary_key=True),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        key("provider"),
        big("shares"),
        sa.CheckConstraint("shares >= 0", name="share_balance_not_negative"),
        schema=SCHEMA,
    )
    op.create_index("share_balance_provider", "share_balance", ["provider"], schema=SCHEMA)


# At commit, every entry that got a posting sums to zero per token.
_BALANCED = (
    """CREATE FUNCTION pool.check_entry_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM pool.posting WHERE entry_id = NEW.entry_id GROUP BY token HAVING sum(amount) <> 0) THEN
            RAISE EXCEPTION 'journal entry % does not sum to zero', NEW.entry_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE CONSTRAINT TRIGGER posting_balanced AFTER INSERT ON pool.posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pool.check_entry_balanced()""",
)
# Balances follow their postings in the same transaction, whoever writes those.
_BALANCES = (
    """CREATE FUNCTION pool.add_to_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO pool.account_balance AS b VALUES (NEW.account, NEW.token, NEW.amount)
        ON CONFLICT (account, token) DO UPDATE SET balance = b.balance + NEW.amount;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER posting_balance AFTER INSERT ON pool.posting
    FOR EACH ROW EXECUTE FUNCTION pool.add_to_balance()""",
    """CREATE FUNCTION pool.add_to_shares() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE pool.share_balance SET shares = shares + NEW.shares_delta
        WHERE tier = NEW.tier AND token = NEW.token AND provider = NEW.provider;
        IF NOT FOUND THEN
            INSERT INTO pool.share_balance AS b VALUES (NEW.tier, NEW.token, NEW.provider, NEW.shares_delta)
            ON CONFLICT (tier, token, provider) DO UPDATE SET shares = b.shares + NEW.shares_delta;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER statement_line_shares AFTER INSERT ON pool.statement_line
    FOR EACH ROW WHEN (NEW.shares_delta <> 0) EXECUTE FUNCTION pool.add_to_shares()""",
)
_APPEND_ONLY = (
    """CREATE FUNCTION pool.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: correct it with a new entry', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
    END $$""",
    *(
        f"""CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pool.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION pool.refuse_change()"""
        for table in ("journal_entry", "posting", "statement_line")
    ),
)

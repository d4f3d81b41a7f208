"""How each tier stood at each height, and what a share had earned and paid by then.

Safe for the release before: a trigger keeps it, whoever posts.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.pool.migrations.columns import SCHEMA, big

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table, filled from the journal, its trigger and guard, and a rebuild that makes it anew."""
    op.create_table(
        "tier_height",
        sa.Column("tier", sa.SmallInteger, primary_key=True),
        sa.Column("token", sa.SmallInteger, primary_key=True),
        sa.Column("burn_height", sa.BigInteger, primary_key=True),
        big("capital"),
        big("all_shares"),
        sa.Column("premiums_per_share_e36", sa.Numeric, nullable=False),
        sa.Column("payouts_per_share_e36", sa.Numeric, nullable=False),
        schema=SCHEMA,
    )
    op.execute("LOCK TABLE pool.journal_entry, pool.posting, pool.statement_line IN SHARE ROW EXCLUSIVE MODE")
    for statement in (_PER_SHARE, _REBUILD_HEIGHTS, "SELECT pool.rebuild_tier_height()", *_KEPT, _GUARD, *_REBUILD):
        op.execute(statement)


_TIER = "array_position(ARRAY['CONSERVATIVE', 'BALANCED', 'AGGRESSIVE'], split_part(account, '/', 2))::smallint"
_OF_CAPITAL = "split_part(account, '/', 1) IN ('free_capital', 'locked_collateral')"


def _changes(postings: str, lines: str) -> str:
    """By entry and tier, what it changed in capital and shares."""
    return f"""SELECT d.entry_id, d.tier, d.token, e.burn_height, e.kind, sum(d.capital)::bigint AS capital,
            sum(d.shares)::bigint AS shares
        FROM (
            SELECT entry_id, {_TIER} AS tier, token, -sum(amount) AS capital, 0 AS shares
            FROM {postings} WHERE {_OF_CAPITAL} GROUP BY 1, 2, 3 HAVING sum(amount) <> 0
            UNION ALL
            SELECT entry_id, tier, token, 0, sum(shares_delta)
            FROM {lines} GROUP BY 1, 2, 3 HAVING sum(shares_delta) <> 0
        ) d JOIN pool.journal_entry e ON e.id = d.entry_id
        GROUP BY 1, 2, 3, 4, 5"""


# Rounded up, so that a part that is a whole amount stays one: off by less than a unit in 10^17 for all of a tier.
_PER_SHARE = """CREATE FUNCTION pool.per_share_e36(wanted text, kind text, amount bigint, shares bigint)
    RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN kind = wanted AND shares > 0 THEN ceil_div ELSE 0 END
        FROM (SELECT div(amount * 1e36 + shares - 1, nullif(shares, 0)) AS ceil_div) AS made
    $$"""
_REBUILD_HEIGHTS = f"""CREATE FUNCTION pool.rebuild_tier_height() RETURNS void LANGUAGE sql AS $$
        DELETE FROM pool.tier_height;
        INSERT INTO pool.tier_height
        SELECT DISTINCT ON (tier, token, burn_height) tier, token, burn_height, sum(capital) OVER so_far,
            stood + shares,
            sum(pool.per_share_e36('POLICY_CREATED', kind, capital, stood)) OVER so_far,
            sum(pool.per_share_e36('POLICY_SETTLED', kind, -capital, stood)) OVER so_far
        FROM (
            SELECT *, coalesce(sum(shares) OVER (PARTITION BY tier, token ORDER BY burn_height, entry_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS stood
            FROM ({_changes("pool.posting", "pool.statement_line")}) AS change
        ) AS running
        WINDOW so_far AS (PARTITION BY tier, token ORDER BY burn_height, entry_id)
        ORDER BY tier, token, burn_height, entry_id DESC;
    $$"""
# An entry for a height below the last, as of an event that was missed, changes how the tier stood since.
_KEPT = (
    f"""CREATE FUNCTION pool.take_in_heights() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE change record; before pool.tier_height; stood bigint; premiums numeric; payouts numeric;
    BEGIN
        FOR change IN
            SELECT tier, token, burn_height, sum(capital)::bigint AS capital, sum(shares)::bigint AS shares,
                array_agg(kind ORDER BY entry_id) AS kinds, array_agg(capital ORDER BY entry_id) AS capitals,
                array_agg(shares ORDER BY entry_id) AS all_shares
            FROM ({_changes("added", "pool.statement_line WHERE entry_id IN (SELECT entry_id FROM added)")}) AS entry
            GROUP BY tier, token, burn_height ORDER BY tier, token, burn_height
        LOOP
            SELECT * INTO before FROM pool.tier_height
            WHERE tier = change.tier AND token = change.token AND burn_height <= change.burn_height
            ORDER BY burn_height DESC LIMIT 1;
            stood := coalesce(before.all_shares, 0);
            premiums := 0;
            payouts := 0;
            FOR i IN 1 .. cardinality(change.kinds) LOOP
                IF stood > 0 AND change.kinds[i] = 'POLICY_CREATED' THEN
                    premiums := premiums + div(change.capitals[i] * 1e36 + stood - 1, stood);
                ELSIF stood > 0 AND change.kinds[i] = 'POLICY_SETTLED' THEN
                    payouts := payouts + div(-change.capitals[i] * 1e36 + stood - 1, stood);
                END IF;
                stood := stood + change.all_shares[i];
            END LOOP;
            INSERT INTO pool.tier_height VALUES (change.tier, change.token, change.burn_height,
                coalesce(before.capital, 0), coalesce(before.all_shares, 0),
                coalesce(before.premiums_per_share_e36, 0), coalesce(before.payouts_per_share_e36, 0))
            ON CONFLICT DO NOTHING;
            UPDATE pool.tier_height SET capital = capital + change.capital, all_shares = all_shares + change.shares,
                premiums_per_share_e36 = premiums_per_share_e36 + premiums,
                payouts_per_share_e36 = payouts_per_share_e36 + payouts
            WHERE tier = change.tier AND token = change.token AND burn_height >= change.burn_height;
        END LOOP;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER posting_tier_height AFTER INSERT ON pool.posting REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION pool.take_in_heights()""",
)
_GUARD = """CREATE TRIGGER tier_height_derived BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON pool.tier_height
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION pool.refuse_derived()"""
_REBUILD = (
    "ALTER FUNCTION pool.rebuild_derived() RENAME TO rebuild_sums",
    """CREATE FUNCTION pool.rebuild_derived() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pool.rebuild_sums();
        ALTER TABLE pool.tier_height DISABLE TRIGGER tier_height_derived;
        PERFORM pool.rebuild_tier_height();
        ALTER TABLE pool.tier_height ENABLE TRIGGER tier_height_derived;
    END $$""",
)

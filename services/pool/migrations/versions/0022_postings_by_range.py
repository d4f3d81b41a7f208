"""Posting looks at what it posts, not at the ledger; entries that follow one another are looked at by their range.

What revisions 0018 and 0021 ask of entries was planned as a walk along all postings there are. The same is refused as
before, for the same reason. No policy is looked for by its on-chain id, but each that ended had to be put into that
index again. Safe for the release before, which knows nothing of it.

Revision ID: 0022
"""

from __future__ import annotations

from alembic import op

from services.pool.migrations.columns import SCHEMA

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# By index whatever the planner knows of the tables, as revision 0007 says; for a few rows each time, a bitmap is waste.
_BY_INDEX = " ".join(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))
_RANGE = "SELECT min(entry_id), max(entry_id), count(*) INTO first, last, given FROM added"


def upgrade() -> None:
    """Three functions that say the same in fewer looks; an index less."""
    for statement in (_WHOLE, _POSTINGS, _HEIGHTS):
        op.execute(statement)
    op.drop_index("coverage_onchain_id", "coverage", schema=SCHEMA)


# As revision 0021 has it, but for the first query: each half is a join, so that the index is asked for each entry.
_WHOLE = f"""CREATE OR REPLACE FUNCTION pool.check_entry_whole() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong bigint;
    BEGIN
        SELECT id INTO wrong FROM (
            SELECT id FROM added a WHERE kind <> 'SHARES_CONSOLIDATED'
            AND NOT EXISTS (SELECT FROM pool.posting p WHERE p.entry_id = a.id)
            UNION ALL
            SELECT id FROM added a WHERE kind = 'SHARES_CONSOLIDATED'
            AND EXISTS (SELECT FROM pool.posting p WHERE p.entry_id = a.id)
        ) AS either LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % has no postings, or some that its kind cannot have', wrong
            USING ERRCODE = 'check_violation';
        END IF;
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('pool closing', 0));
        INSERT INTO pool.late_entry
        SELECT a.id, a.burn_height, closed.burn_height
        FROM (SELECT max(burn_height) AS burn_height FROM pool.closing) AS closed
        JOIN added a ON a.burn_height <= closed.burn_height;
        RETURN NULL;
    END $$"""
# Where every number of the range is an entry and the range has no posting but these, each of them has its entry and
# each entry has no other posting. Anything else is looked at entry by entry, as it was before.
_POSTINGS = f"""CREATE OR REPLACE FUNCTION pool.take_in_postings() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE wrong record; first bigint; last bigint; given bigint;
    BEGIN
        {_RANGE};
        IF last - first >= given
            OR EXISTS (SELECT FROM added GROUP BY entry_id, token HAVING sum(amount) <> 0)
            OR (SELECT count(*) FROM pool.journal_entry WHERE id BETWEEN first AND last) <> last - first + 1
            OR (SELECT count(*) FROM pool.posting WHERE entry_id BETWEEN first AND last) <> given
        THEN
            SELECT a.entry_id, a.balanced, e.id IS NOT NULL AS known INTO wrong
            FROM (
                SELECT entry_id, sum(number) AS number, bool_and(total = 0) AS balanced
                FROM (
                    SELECT entry_id, token, count(*) AS number, sum(amount) AS total FROM added GROUP BY 1, 2
                ) AS by_token
                GROUP BY entry_id
            ) AS a LEFT JOIN pool.journal_entry e ON e.id = a.entry_id
            WHERE NOT a.balanced OR e.id IS NULL
                OR a.number <> (SELECT count(*) FROM pool.posting p WHERE p.entry_id = a.entry_id)
            LIMIT 1;
            IF NOT FOUND THEN
                NULL;
            ELSIF NOT wrong.known THEN
                RAISE EXCEPTION 'there is no journal entry %', wrong.entry_id USING ERRCODE = 'foreign_key_violation';
            ELSIF NOT wrong.balanced THEN
                RAISE EXCEPTION 'journal entry % does not sum to zero', wrong.entry_id
                USING ERRCODE = 'check_violation';
            ELSE
                RAISE EXCEPTION 'journal entry % has its postings already', wrong.entry_id
                USING ERRCODE = 'restrict_violation';
            END IF;
        END IF;
        INSERT INTO pool.account_balance AS b (account, token, balance)
        SELECT account, token, sum(amount) FROM added GROUP BY account, token ORDER BY account, token
        ON CONFLICT (account, token) DO UPDATE SET balance = b.balance + EXCLUDED.balance;
        RETURN NULL;
    END $$"""
_TIER = "array_position(ARRAY['CONSERVATIVE', 'BALANCED', 'AGGRESSIVE'], split_part(account, '/', 2))::smallint"
_OF_CAPITAL = "split_part(account, '/', 1) IN ('free_capital', 'locked_collateral')"
# As revision 0006 has it; statement lines, which few entries have, are looked for only where there are any.
_HEIGHTS = f"""CREATE OR REPLACE FUNCTION pool.take_in_heights() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE change record; before pool.tier_height; stood bigint; premiums numeric; payouts numeric;
        first bigint; last bigint; given bigint; with_lines boolean;
    BEGIN
        {_RANGE};
        with_lines := EXISTS (SELECT FROM pool.statement_line WHERE entry_id BETWEEN first AND last);
        FOR change IN
            SELECT tier, token, burn_height, sum(capital)::bigint AS capital, sum(shares)::bigint AS shares,
                array_agg(kind ORDER BY entry_id) AS kinds, array_agg(capital ORDER BY entry_id) AS capitals,
                array_agg(shares ORDER BY entry_id) AS all_shares
            FROM (
                SELECT d.entry_id, d.tier, d.token, e.burn_height, e.kind, sum(d.capital)::bigint AS capital,
                    sum(d.shares)::bigint AS shares
                FROM (
                    SELECT entry_id, {_TIER} AS tier, token, -sum(amount) AS capital, 0 AS shares
                    FROM added WHERE {_OF_CAPITAL} GROUP BY 1, 2, 3 HAVING sum(amount) <> 0
                    UNION ALL
                    SELECT entry_id, tier, token, 0, sum(shares_delta)
                    FROM pool.statement_line WHERE with_lines AND entry_id IN (SELECT entry_id FROM added)
                    GROUP BY 1, 2, 3 HAVING sum(shares_delta) <> 0
                ) d JOIN pool.journal_entry e ON e.id = d.entry_id
                GROUP BY 1, 2, 3, 4, 5
            ) AS entry
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
    END $$"""

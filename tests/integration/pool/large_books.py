"""Books of a platform that has run for long, as far as tests.load.seed makes none: what waits, and what is over.

Of every hundred rows one waits, as indexes that are for those alone suppose.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from tests.load.policies import TIP
from tests.load.seed import seed

POLICIES, PROVIDERS = 10_000, 2_000
_ROWS: Final = 10_000
_PROVIDER: Final = f"(SELECT array_agg(DISTINCT provider) FROM pool.deposit)[1 + n % {PROVIDERS}]"
_STATEMENTS: Final = (
    f"""INSERT INTO pool.reservation (policy_id, holder, tier, token, max_payout, quote_expiration_burn_height,
        terms_sha256, state, reason, create_time, end_time)
    SELECT id, holder_principal, tier, token, max_payout_base_units, CASE WHEN n % 100 = 0 THEN {TIP} - n ELSE n END,
        ''::bytea, CASE WHEN n % 100 = 0 THEN 'HELD' ELSE 'COMMITTED' END, '', create_time, create_time
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM policy.policy) p""",
    f"""INSERT INTO pool.deposit (id, provider, tier, token, amount, state, shares, txid, burn_height,
        final_market_time, btc_round, stx_round, btc_price_e8, stx_price_e8, create_time)
    SELECT '0x' || md5('w' || n) || '-1', {_PROVIDER}, 1 + n % 3, 1 + n % 2, 1000, 'FINAL', 0, '0x' || md5('w' || n), n,
        now(), 0, 0, 0, 0, now()
    FROM generate_series(1, {2 * PROVIDERS} / 100) n""",
    f"""INSERT INTO pool.withdrawal (id, provider, tier, token, shares, state, amount, voucher_expiration_burn_height,
        last_use_burn_height, public_key, signature, prepared_transaction, reason, txid, request_market_time,
        btc_round, stx_round, btc_price_e8, stx_price_e8, create_time)
    SELECT lpad(n::text, 32, '0'), {_PROVIDER}, 1 + n % 3, 1 + n % 2, 1000,
        CASE n % 100 WHEN 0 THEN 'REQUESTED' WHEN 1 THEN 'PRICED' ELSE 'PAID' END, 1000, n, n, '', '', '', '', '',
        now(), 1, 1, 1, 1, now() FROM generate_series(1, {_ROWS}) n""",
    f"""INSERT INTO pool.decision (expiration_burn_height, policy_id, btc_price_e8, stx_price_e8)
    SELECT CASE WHEN n % 2 = 0 THEN n END, CASE WHEN n % 2 = 1 THEN lpad(n::text, 32, '0') END, 1, 1
    FROM generate_series(1, {_ROWS}) n""",
    f"""INSERT INTO pool.feed (principal, kind, part_of, tier, token, amount, shares, time, burn_height, txid, reason,
        number)
    SELECT {_PROVIDER}, 'DEPOSIT_FINAL', '', 1, 1, 1, 1, now(), n, '', '', CASE WHEN n <= 9950 THEN n END
    FROM generate_series(1, {_ROWS}) n""",
    f"""INSERT INTO pool.outbox (kind, key, payload, create_time, due_time, deliver_time, attempts, last_error)
    SELECT 'start', n, '{{}}', now(), now(), CASE WHEN n % 100 > 0 THEN now() END, 1, ''
    FROM generate_series(1, {_ROWS}) n""",
    f"""INSERT INTO pool.request (principal, method, request_id, body_sha256, response, create_time)
    SELECT 'SP' || n, 'm', n, '', '', now() - n * interval '1 second' FROM generate_series(1, {_ROWS}) n""",
    """INSERT INTO pool.reconciliation_fact (reconciliation_id, book, policy_id, status, token, max_payout, payout)
    SELECT report::text, book, policy_id, status, token, max_payout, payout
    FROM (SELECT * FROM pool.coverage ORDER BY policy_id LIMIT 500) c, generate_series(1, 20) report,
        unnest(ARRAY['contracts', 'policies']) book""",
    f"""INSERT INTO pool.reconciliation (id, block_hash, burn_height, differences, policies_compared,
        accounts_compared, create_time)
    SELECT lpad(n::text, 32, '0'), '', n, '[]', 0, 0, now() - n * interval '1 hour'
    FROM generate_series(1, {_ROWS}) n""",
)


async def fill(url: str) -> None:
    """Migrates the schemas `policy` and `pool` of an empty database and fills them, with what the planner knows."""
    await seed(url, POLICIES, PROVIDERS)
    connection = await asyncpg.connect(url)
    try:
        # Triggers would tell providers of each, and check entries that are not there.
        await connection.execute("SET session_replication_role = replica")
        for statement in _STATEMENTS:
            await connection.execute(statement)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()

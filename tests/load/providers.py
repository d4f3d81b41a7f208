"""Providers by the hundred thousand, made in SQL: each with two deposits that have their shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.load.policies import TIP

if TYPE_CHECKING:
    from tests.load.bulk import Connection

DEPOSITS_PER_PROVIDER: Final = 2
# Of the two the later came within so many blocks before the tip; that of fifty providers at most at a height at which
# much of what expired ended.
_LATER_WITHIN: Final = 34_000
CROWDED: Final = TIP - 10_000
# What two deposits of each provider bring covers ten policies for each of them.
_DEPOSITS: Final = f"""
INSERT INTO pool.deposit (id, provider, tier, token, amount, state, shares, txid, burn_height, final_market_time,
    btc_round, stx_round, btc_price_e8, stx_price_e8, create_time)
SELECT md5('deposit' || n) || '-0', 'ST' || upper(substr(md5('provider' || n % $1) || md5('p'), 1, 38)),
    1 + n % 3, 1 + n % 2, 50000000000 + n % 1000, 'PRICED', 50000000000 + n % 1000,
    '0x' || md5('t' || n) || md5('x' || n),
    CASE WHEN n < $1 THEN 800000 + n / 1000 WHEN n % 20 = 0 AND n < $1 + 1000 THEN {CROWDED}
        ELSE {TIP} - 1 - (n * 7919) % {_LATER_WITHIN} END,
    '2025-01-01'::timestamptz + n * interval '1 minute', n, n, 100000 * 100000000::bigint, 200000000,
    '2025-01-01'::timestamptz + n * interval '1 minute'
FROM generate_series(0, $1::bigint * {DEPOSITS_PER_PROVIDER} - 1) AS n
"""
_ENTRIES: Final = """
INSERT INTO pool.journal_entry (cause, event, kind, burn_height, time, txid, reason, subject)
SELECT key, key, kind, burn_height, create_time,
    CASE kind WHEN 'DEPOSIT' THEN txid ELSE '' END, '', 'deposits/' || id
FROM pool.deposit, LATERAL (VALUES ('DEPOSIT', replace(id, '-', '/'), 1),
    ('SHARES_ISSUED', 'deposits/' || id || '/price', 2)) AS given(kind, key, place)
ORDER BY create_time, place
"""
_POSTINGS: Final = """
INSERT INTO pool.posting (entry_id, account, token, amount)
SELECT e.id, line.account, d.token, line.sign * d.amount
FROM pool.journal_entry e
JOIN pool.deposit d ON e.subject = 'deposits/' || d.id
CROSS JOIN LATERAL (
    SELECT (ARRAY['STX', 'SBTC'])[d.token] AS token,
        (ARRAY['CONSERVATIVE', 'BALANCED', 'AGGRESSIVE'])[d.tier] || '/' || (ARRAY['STX', 'SBTC'])[d.token] AS place
) AS named
CROSS JOIN LATERAL (VALUES
    ('DEPOSIT', 'vault_cash/' || named.token, 1), ('DEPOSIT', 'deposits_unpriced/' || named.place, -1),
    ('SHARES_ISSUED', 'deposits_unpriced/' || named.place, 1), ('SHARES_ISSUED', 'free_capital/' || named.place, -1)
) AS line(kind, account, sign)
WHERE line.kind = e.kind
ORDER BY e.id
"""
_LINES: Final = """
INSERT INTO pool.statement_line (entry_id, provider, kind, tier, token, amount, shares_delta, txid, burn_height, time)
SELECT e.id, d.provider, CASE e.kind WHEN 'DEPOSIT' THEN 'deposit' ELSE 'shares issued' END, d.tier, d.token, d.amount,
    CASE e.kind WHEN 'DEPOSIT' THEN 0 ELSE d.shares END, e.txid, e.burn_height, e.time
FROM pool.journal_entry e JOIN pool.deposit d ON e.subject = 'deposits/' || d.id
ORDER BY e.id
"""


async def fill(connection: Connection, count: int) -> None:
    """Adds so many providers to the books."""
    await connection.execute(_DEPOSITS, count)
    for statement in (_ENTRIES, _POSTINGS, _LINES):
        await connection.execute(statement)

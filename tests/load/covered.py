"""The pool's side of the policies: what it covers, and the entries of each creation and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.load.policies import TIP
from tests.load.providers import CROWDED

if TYPE_CHECKING:
    from tests.load.bulk import Connection

# Creations are spread evenly over this many burn blocks before the tip; ends follow them.
CREATED_WITHIN: Final = 42_000
# What had expired by the crowded height was ended there, all at once.
_COVERAGE: Final = f"""
INSERT INTO pool.coverage (policy_id, onchain_id, tier, token, amount_sats, strike_e8, floor_e8, max_payout, premium,
    created_burn_height, expiration_burn_height, status, payout, ended_burn_height)
SELECT id, onchain_id, tier, token, protected_amount_sats, strike_price_usd_e8, floor_price_usd_e8,
    max_payout_base_units, premium_base_units, created, expiration_burn_height,
    CASE WHEN state IN ('SETTLED', 'EXPIRED') THEN state ELSE 'ACTIVE' END, payout_base_units,
    CASE
        WHEN state = 'EXPIRED' AND greatest(created, expiration_burn_height) + 7 < {CROWDED} THEN {CROWDED}
        WHEN state IN ('SETTLED', 'EXPIRED') THEN greatest(created, expiration_burn_height) + 7
    END
FROM (
    SELECT *, {TIP} - 20 - {CREATED_WITHIN} + (onchain_id * {CREATED_WITHIN} / max(onchain_id) OVER ()) AS created
    FROM policy.policy WHERE onchain_id IS NOT NULL
) AS on_chain
"""
_ENTRIES: Final = """
INSERT INTO pool.journal_entry (cause, event, kind, burn_height, time, txid, reason, subject)
SELECT txid || '/0', txid || '/0', kind, height, '2026-01-01'::timestamptz + (height - 858000) * interval '10 minutes',
    txid, '', 'policies/' || policy_id
FROM (
    SELECT policy_id, 'POLICY_CREATED' AS kind, created_burn_height AS height FROM pool.coverage
    UNION ALL SELECT policy_id, 'POLICY_' || status, ended_burn_height FROM pool.coverage WHERE status <> 'ACTIVE'
) AS event CROSS JOIN LATERAL (SELECT '0x' || md5(kind || policy_id) || md5(policy_id || kind) AS txid) AS made
ORDER BY height, policy_id
"""
# As domain.ledger posts them, with the fee of tests.load.policies.
_POSTINGS: Final = """
INSERT INTO pool.posting (entry_id, account, token, amount)
SELECT e.id, line.account, c.token, line.amount
FROM pool.journal_entry e
JOIN pool.coverage c ON e.subject = 'policies/' || c.policy_id
CROSS JOIN LATERAL (
    SELECT (ARRAY['STX', 'SBTC'])[c.token] AS token,
        (ARRAY['CONSERVATIVE', 'BALANCED', 'AGGRESSIVE'])[c.tier] || '/' || (ARRAY['STX', 'SBTC'])[c.token] AS place
) AS named
CROSS JOIN LATERAL (VALUES
    ('POLICY_CREATED', 'vault_cash/' || named.token, c.premium + 50000),
    ('POLICY_CREATED', 'platform_fees/' || named.token, -50000),
    ('POLICY_CREATED', 'free_capital/' || named.place, c.max_payout - c.premium),
    ('POLICY_CREATED', 'locked_collateral/' || named.place, -c.max_payout),
    ('POLICY_SETTLED', 'vault_cash/' || named.token, -c.payout),
    ('POLICY_SETTLED', 'locked_collateral/' || named.place, c.max_payout),
    ('POLICY_SETTLED', 'free_capital/' || named.place, c.payout - c.max_payout),
    ('POLICY_EXPIRED', 'locked_collateral/' || named.place, c.max_payout),
    ('POLICY_EXPIRED', 'free_capital/' || named.place, -c.max_payout)
) AS line(kind, account, amount)
WHERE line.kind = e.kind
ORDER BY e.id
"""
_CURSOR: Final = f"UPDATE pool.cursor SET projected_burn_height = {TIP}"


async def fill(connection: Connection) -> None:
    """Takes every policy of the schema `policy` that is or was on chain into the books."""
    for statement in (_COVERAGE, _ENTRIES, _POSTINGS, _CURSOR):
        await connection.execute(statement)

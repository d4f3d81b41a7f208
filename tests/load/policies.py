"""Policies by the hundred thousand, made in SQL: of every state, each with the history that belongs to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bithedge.policy.v1 import policy_pb2
from bithedge.type.v1 import price_pb2, transaction_pb2

from services.policy.domain.notice import NoticeKind
from services.policy.domain.transitions import PolicyState as S
from tests.load.bulk import filling

if TYPE_CHECKING:
    from tests.load.bulk import Connection

# The burn height of the day on which the platform is seen. What is ACTIVE expires after it, within 90 days.
TIP: Final = 900_000
SPREAD: Final = 12_960
POLICIES_PER_HOLDER: Final = 20
BTC_PRICE_USD_E8: Final = 100_000 * 10**8
STX_PRICE_USD_E8: Final = 2 * 10**8

# Of a hundred policies, in this order. Policies of one batch come one per hundred, 200 to a batch.
_SHARES: Final = (
    (S.ACTIVE, 40),
    (S.EXPIRED, 35),
    (S.SETTLED, 15),
    (S.FAILED_CREATION, 6),
    (S.PENDING_CREATION, 1),
    (S.SETTLING, 1),
    (S.EXPIRING, 1),
    (S.FAILED_SETTLEMENT, 1),
)
_ACCEPTED: Final = (None, S.PENDING_CREATION, "call", "QUOTE_ACCEPTED")
_CREATED: Final = (S.PENDING_CREATION, S.ACTIVE, "projector", "CREATED_ON_CHAIN")
_ACTIVATED: Final = (S.ACTIVE, S.SETTLING, "call", "HOLDER_ACTIVATED")
_SWEPT: Final = (S.ACTIVE, S.EXPIRING, "sweeper", "EXPIRATION_FINAL")
_LIVES: Final = {
    S.PENDING_CREATION: [],
    S.FAILED_CREATION: [(S.PENDING_CREATION, S.FAILED_CREATION, "projector", "QUOTE_NOT_PAID")],
    S.ACTIVE: [_CREATED],
    S.SETTLING: [_CREATED, _ACTIVATED],
    S.EXPIRING: [_CREATED, _SWEPT],
    S.EXPIRED: [_CREATED, _SWEPT, (S.EXPIRING, S.EXPIRED, "projector", "EXPIRED_ON_CHAIN")],
    S.SETTLED: [_CREATED, _ACTIVATED, (S.SETTLING, S.SETTLED, "projector", "SETTLED_ON_CHAIN")],
    S.FAILED_SETTLEMENT: [
        _CREATED,
        _ACTIVATED,
        (S.SETTLING, S.FAILED_SETTLEMENT, "workflow", "REFUSED_BY_CONTRACT: u3021"),
    ],
}
_TABLES: Final = (
    "policy.policy",
    "policy.policy_history",
    "policy.activation",
    "policy.expiry_batch",
    "policy.feed",
    "policy.request",
    "policy.outbox",
)

# $1 how many, $2 to $4 states with their shares and versions, $5 breakdown, $6 transaction.
# A policy's id starts with its time; a holder's policies are of every state.
_POLICIES: Final = f"""
WITH share AS (
    SELECT state, version, sum(part) OVER (ORDER BY place) - part AS low, sum(part) OVER (ORDER BY place) AS high
    FROM unnest($2::text[], $3::int[], $4::int[]) WITH ORDINALITY AS given(state, part, version, place)
), numbered AS (
    SELECT n, md5('policy' || n) AS hash, state, version,
        '2026-01-01'::timestamptz + n * interval '25 seconds' AS created,
        (n * 7919 + n / 100) % greatest($1 / {POLICIES_PER_HOLDER}, 1) AS holder_number,
        CASE
            WHEN state IN ('EXPIRED', 'SETTLED') THEN {TIP} - 50 - (n * 7919) % {SPREAD}
            WHEN state = 'EXPIRING' THEN {TIP} - 10 - n / 20000
            ELSE {TIP} + 200 + (n * 7919) % {SPREAD}
        END AS expiration
    FROM generate_series(0, $1::bigint - 1) AS n JOIN share ON n % 100 >= low AND n % 100 < high
)
INSERT INTO policy.policy (
    id, holder_principal, token, tier, protected_amount_sats, strike_price_usd_e8, floor_price_usd_e8,
    btc_price_usd_e8, stx_price_usd_e8, premium_base_units, fee_base_units, max_payout_base_units, auto_settle,
    quote_burn_height, quote_expiration_burn_height, expiration_burn_height, state, create_time, update_time, version,
    quote_btc_round, quote_stx_round, breakdown, counterparty_principal, quote_signature, prepared_transaction,
    onchain_id, onchain_state, onchain_burn_height, creation_burn_height, grace_blocks, confirm_time,
    creation_txid, last_status_txid, activation_number, activation_burn_height, payout_base_units,
    settlement_btc_price_usd_e8, settlement_stx_price_usd_e8, settlement_time, due_burn_height, expiry_batch_id, reason
)
SELECT
    lpad(to_hex((extract(epoch FROM created) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
        || substr(hash, 4, 15),
    'ST' || upper(substr(md5('holder' || holder_number) || md5('h'), 1, 38)),
    1 + n % 2, 1 + n / 2 % 3, 10000000, (85000 + n * 31 % 15000) * 100000000::bigint, 75000 * 100000000::bigint,
    {BTC_PRICE_USD_E8}, CASE n % 2 WHEN 0 THEN {STX_PRICE_USD_E8} ELSE 0 END,
    10000000 + n % 1000, 50000, 2000000000 + n % 1000, n % 10 > 0,
    expiration - 144, expiration - 138, expiration, state, created, created + interval '1 hour', version,
    n, CASE n % 2 WHEN 0 THEN n ELSE 0 END, $5::jsonb, 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG.liquidity-pool-vault',
    decode(repeat(hash, 4) || '01', 'hex'), $6,
    CASE WHEN state NOT IN ('PENDING_CREATION', 'FAILED_CREATION') THEN n + 1 END,
    CASE WHEN state IN ('PENDING_CREATION', 'FAILED_CREATION') THEN 'NONE'
        WHEN state IN ('SETTLED', 'EXPIRED') THEN state ELSE 'ACTIVE' END,
    expiration - 140, expiration - 140, 6, created + interval '10 minutes',
    '0x' || hash || md5(hash), '0x' || md5(hash) || hash,
    CASE WHEN state IN ('SETTLING', 'SETTLED', 'FAILED_SETTLEMENT') THEN 1 ELSE 0 END,
    CASE WHEN state IN ('SETTLING', 'SETTLED', 'FAILED_SETTLEMENT') THEN expiration - 20 ELSE 0 END,
    CASE state WHEN 'SETTLED' THEN 1000000 + n % 1000 ELSE 0 END,
    CASE state WHEN 'SETTLED' THEN 80000 * 100000000::bigint ELSE 0 END,
    CASE state WHEN 'SETTLED' THEN {STX_PRICE_USD_E8} ELSE 0 END,
    CASE state WHEN 'SETTLED' THEN created + interval '1 hour' END,
    expiration + 7, CASE state WHEN 'EXPIRING' THEN lpad(to_hex(n / 20000), 32, '0')
        WHEN 'EXPIRED' THEN lpad(to_hex(expiration), 32, '0') ELSE '' END,
    CASE state WHEN 'FAILED_CREATION' THEN 'QUOTE_NOT_PAID' ELSE '' END
FROM numbered
"""
# Lines of the lives: $1 state, $2 version, $3 from, $4 to, $5 actor, $6 cause.
_HISTORY: Final = """
INSERT INTO policy.policy_history (policy_id, version, from_state, to_state, actor, cause, time, txid, burn_height)
SELECT id, life.version, from_state, to_state, actor, cause, create_time + (life.version - 1) * interval '10 minutes',
    CASE actor WHEN 'projector' THEN last_status_txid ELSE '' END, quote_burn_height + life.version
FROM policy.policy JOIN unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[])
    AS life(state, version, from_state, to_state, actor, cause) USING (state)
ORDER BY id, life.version
"""
# The feed keeps the lines of the last 90 days: a quarter of a year's.
_FEED: Final = """
INSERT INTO policy.feed (principal, policy_id, kind, time, burn_height, txid, token, number)
SELECT holder_principal, policy_id, kind, time, burn_height, txid, token, row_number() OVER (ORDER BY time, history.id)
FROM policy.policy JOIN policy.policy_history history ON policy.id = policy_id
JOIN unnest($1::text[], $2::text[]) AS told(cause, kind) ON told.cause = split_part(history.cause, ':', 1)
WHERE policy.id >= (
    SELECT id FROM policy.policy ORDER BY id DESC OFFSET (SELECT count(*) / 4 FROM policy.policy) LIMIT 1
)
"""
_FEED_NUMBER: Final = "SELECT setval('policy.feed_number', (SELECT max(number) FROM policy.feed))"
# Requests and outbox rows as they are kept: of a month.
_REQUESTS: Final = """
INSERT INTO policy.request (principal, method, request_id, body_sha256, response, create_time)
SELECT holder_principal, 'bithedge.policy.v1.CreatePolicyRequest', id, sha256(id::bytea), prepared_transaction,
    create_time
FROM policy.policy ORDER BY id DESC LIMIT (SELECT count(*) / 12 FROM policy.policy)
"""
_OUTBOX: Final = """
INSERT INTO policy.outbox (kind, key, payload, create_time, due_time, deliver_time)
SELECT 'start', 'create/' || id, breakdown, create_time, create_time, create_time
FROM policy.policy ORDER BY id DESC LIMIT (SELECT count(*) / 12 FROM policy.policy)
"""
_TOLD: Final = {
    "QUOTE_ACCEPTED": NoticeKind.QUOTED,
    "QUOTE_NOT_PAID": NoticeKind.CREATION_FAILED,
    "CREATED_ON_CHAIN": NoticeKind.ACTIVE,
    "HOLDER_ACTIVATED": NoticeKind.ACTIVATED,
    "EXPIRATION_FINAL": "",
    "SETTLED_ON_CHAIN": NoticeKind.SETTLED,
    "EXPIRED_ON_CHAIN": NoticeKind.EXPIRED,
    "REFUSED_BY_CONTRACT": NoticeKind.SETTLEMENT_DELAYED,
}
_ACTIVATIONS: Final = """
INSERT INTO policy.activation (policy_id, number, state, request_time, request_market_time, request_burn_height,
    btc_round, stx_round, receipt, receive_time)
SELECT id, 1, 'IN_THE_MONEY', update_time, update_time, activation_burn_height, quote_btc_round, quote_btc_round, $1,
    update_time
FROM policy.policy WHERE activation_number = 1
"""
_BATCHES: Final = """
INSERT INTO policy.expiry_batch (id, expiration_burn_height, policy_ids, create_time, in_flight)
SELECT expiry_batch_id, min(expiration_burn_height), array_agg(id), min(update_time), bool_or(state = 'EXPIRING')
FROM policy.policy
WHERE expiry_batch_id <> '' GROUP BY expiry_batch_id
"""
FULL_COUNT: Final = """
SELECT 'count' AS kind, state AS key, count(*)::bigint AS value FROM policy.policy GROUP BY state
UNION ALL SELECT 'premium', CASE token WHEN 1 THEN 'STX' ELSE 'SBTC' END, sum(premium_base_units)::bigint
    FROM policy.policy WHERE state NOT IN ('PENDING_CREATION', 'FAILED_CREATION') GROUP BY token
UNION ALL SELECT 'payout', CASE token WHEN 1 THEN 'STX' ELSE 'SBTC' END, sum(payout_base_units)::bigint
    FROM policy.policy GROUP BY token
"""


async def fill(connection: Connection, count: int) -> None:
    """Fills an empty schema `policy` with so many policies of the last year, a twentieth as many holders."""
    states, parts = zip(*_SHARES, strict=True)
    versions = [1 + len(_LIVES[state]) for state in states]
    async with filling(connection, _TABLES):
        names, breakdown = [str(one) for one in states], json.dumps(_breakdown())
        await connection.execute(_POLICIES, count, names, parts, versions, breakdown, _prepared())
        lines = [
            (str(state), version, source, str(target), actor, cause)
            for state, life in _LIVES.items()
            for version, (source, target, actor, cause) in enumerate([_ACCEPTED, *life], 1)
        ]
        await connection.execute(_HISTORY, *map(list, zip(*lines, strict=True)))
        await connection.execute(_ACTIVATIONS, _receipt())
        await connection.execute(_FEED, list(_TOLD), [str(kind) for kind in _TOLD.values()])
        for statement in (_FEED_NUMBER, _REQUESTS, _OUTBOX):
            await connection.execute(statement)
        await connection.execute(_BATCHES)
        await connection.execute(f"INSERT INTO policy.stat (kind, key, value) {FULL_COUNT}")
    await connection.execute("VACUUM ANALYZE policy.stat")


def _breakdown() -> dict[str, object]:
    """An itemised premium of the right shape; what it says is of no policy in particular."""
    fields = policy_pb2.PremiumBreakdown.DESCRIPTOR.fields
    plain: dict[str, object] = {one.name: one.default_value for one in fields if one.message_type is None}
    return plain | {f"{one.name}_base_units": 1_000_000 for one in fields if one.message_type is not None}


def _prepared() -> bytes:
    """A transaction as long as that of a creation."""
    prepared = transaction_pb2.PreparedTransaction(
        name="preparedTransactions/1", contract="ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG.policy-registry"
    )
    return (
        prepared.SerializeToString()
        + transaction_pb2.PreparedTransaction(unsigned_transaction=bytes(500)).SerializeToString()
    )


def _receipt() -> bytes:
    receipt = price_pb2.SettlementReceipt(
        activation=price_pb2.ActivationPurpose(activation_number=1),
        btc_price_usd_e8=80_000 * 10**8,
        stx_price_usd_e8=STX_PRICE_USD_E8,
        burn_height=TIP,
        signature=bytes(range(65)),
    )
    return receipt.SerializeToString(deterministic=True)

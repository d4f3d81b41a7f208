"""Tables of a gateway that has run for long: of every hundred intents and transactions one is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from kernel.database import Database, migrate
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.tables import SCHEMA
from tests.integration.policy.plans import Statements

ROWS: Final = 10_000
MIDDLE: Final = ROWS // 2
PER_BURN_BLOCK: Final = 2
TIP_BURN_HEIGHT: Final = ROWS // PER_BURN_BLOCK
_HASH: Final = "lpad(to_hex(n), 64, '0')"
_OPEN: Final = "n % 100 = 0"
_MINED: Final = f"CASE WHEN NOT {_OPEN} THEN"
_NUMBERS: Final = f"FROM generate_series(1, {ROWS}) n"
_FILL: Final = f"""
INSERT INTO block (index_hash, hash, parent_index_hash, stacks_height, burn_height, burn_hash, burn_time, block_time,
    canonical, create_time)
SELECT {_HASH}, {_HASH}, lpad(to_hex(n - 1), 64, '0'), n, n / {PER_BURN_BLOCK}, {_HASH}, now(), now(), true, now()
{_NUMBERS};
INSERT INTO event (sequence, withdrawn, canonical, was_final, confirmations_seen, index_hash, block_hash, stacks_height,
    burn_height, block_time, txid, transaction_index, event_index, sender, backend_fee_ustx, contract, topic, value)
SELECT n, false, true, false, 0, {_HASH}, {_HASH}, n, n / {PER_BURN_BLOCK}, now(), {_HASH}, 0, 0, 'SP', 0,
    CASE WHEN n % 10 = 0 THEN 'price-oracle' ELSE 'policy-registry' END,
    CASE n % 10 WHEN 0 THEN 'price-published' WHEN 1 THEN 'policy-settled' ELSE 'policy-created' END,
    sha256(n::text::bytea)
{_NUMBERS};
INSERT INTO chain_state (id, index_hash, block_hash, stacks_height, burn_height, burn_time, latest_sequence,
    parameter_sequence, final_burn_height_high, refresh_time, advance_time)
VALUES (1, '', '', {ROWS}, {TIP_BURN_HEIGHT}, now(), {ROWS}, 0, 0, now(), now());
INSERT INTO intent (id, key, call, purpose, created_by, contract, function, payload, post_conditions, priority, state,
    contract_error, reason, give_up_reason, origin_signed, create_time, end_time)
SELECT lpad(n::text, 32, '0'), 'key/' || n, '', '', 'SP' || n % 100, 'policy-registry', 'settle', '', '{{}}', 0,
    CASE WHEN {_OPEN} THEN 1 + n / 100 % 2 ELSE 3 END, 0, '', '', CASE WHEN n % 2 = 0 THEN ''::bytea END,
    now() - n * interval '1 second', CASE WHEN NOT {_OPEN} THEN now() END
{_NUMBERS};
INSERT INTO signing_account (address, base_nonce, complete)
SELECT 'account' || n, 0, true FROM generate_series(0, 2) n;
INSERT INTO nonce_slot (address, nonce, intent_id) SELECT 'account' || n % 3, n, lpad(n::text, 32, '0') {_NUMBERS};
INSERT INTO mined_nonce (sender, nonce, txid, index_hash, stacks_height, burn_height, final)
SELECT 'account' || n % 3, n, {_HASH}, {_HASH}, n, n / {PER_BURN_BLOCK}, n <= {ROWS} - 20
{_NUMBERS};
INSERT INTO chain_transaction (txid, intent_id, sender, nonce, fee_ustx, contract, function, raw, state, sends,
    due_time, node_status, result, mined_index_hash, mined_stacks_height, mined_burn_height, reason, create_time)
SELECT {_HASH}, lpad(n::text, 32, '0'), 'account' || n % 3, n, 1, 'c', 'f', '',
    CASE WHEN NOT {_OPEN} THEN 4 WHEN n % 200 = 0 THEN 1 ELSE 2 END, 1, now(), '', '',
    {_MINED} {_HASH} END, {_MINED} n END, {_MINED} n / {PER_BURN_BLOCK} END, '', now()
{_NUMBERS};
INSERT INTO prepared_transaction (id, principal, contract, function, payload, post_conditions, suggested_fee_ustx,
    suggested_nonce, create_time)
SELECT lpad(n::text, 32, '0'), 'SP', 'c', 'f', '', '{{}}', 1, 1, now() {_NUMBERS};
INSERT INTO signed_quote (policy_id, terms, signer, signature, expiration_burn_height, create_time)
SELECT lpad(n::text, 32, '0'), '', 'account' || n % 3, sha512('') || '\\x00'::bytea, n, now() {_NUMBERS};
INSERT INTO signed_voucher (withdrawal_id, terms, signer, signature, expiration_burn_height, create_time)
SELECT lpad(n::text, 32, '0'), '', 'account' || n % 3, sha512('') || '\\x00'::bytea, n, now() {_NUMBERS};
INSERT INTO signing_audit (subject, reason, account, what, ustx, sats, content_sha256, detail, attempts, create_time,
    last_time)
SELECT 'intents/' || n, CASE WHEN n % 10 = 0 THEN 'LIMIT' ELSE '' END, 'account' || n % 3,
    CASE WHEN n % 2 = 0 THEN 'quote' ELSE 'voucher' END, 1, 1, '', '', 1, now() - n * interval '1 second', now()
{_NUMBERS};
INSERT INTO signing_day (day, what, ustx, sats) SELECT current_date - n, 'quote', 1, 1 {_NUMBERS};
INSERT INTO backend_key_change (id, address, state, principal, create_time)
SELECT lpad(n::text, 32, '0'), 'account' || n % 3, 1, '', now() {_NUMBERS}"""


class OverheardDatabase(Database):
    """Notes the statements that are sent without a session."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.plain = Statements()

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """As the database's own."""
        self.plain.issued.append((statement, arguments))
        return await super().rows(statement, *arguments)


@dataclass(frozen=True)
class Full:
    """A full schema."""

    url: str
    database: OverheardDatabase


async def fill(url: str) -> None:
    """Migrates an empty database and fills it, with what the planner knows."""
    await migrate(url, SCHEMA, MIGRATIONS)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute(_FILL)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def name_of(number: int) -> str:
    """The id of an intent, a quote and so on, or the hash of a block and a transaction."""
    return f"{number:032}"


def hash_of(number: int) -> str:
    """The hash of a block and of a transaction."""
    return f"{number:064x}"

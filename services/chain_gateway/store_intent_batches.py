"""SQL that takes in many intents at once: one statement, one commit, however many calls wait for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.database import Database
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import SCHEMA

_COUNT: Final = (
    f"SELECT count(*) FROM (SELECT 1 FROM {SCHEMA}.intent WHERE state = {int(IntentState.QUEUED)} LIMIT $1) AS queued"
)
# An array of arrays must be rectangular: each list of post-conditions travels as the text of an array.
_ADD: Final = f"""
WITH added AS (
    INSERT INTO {SCHEMA}.intent (id, key, call, purpose, created_by, contract, function, payload, post_conditions,
        priority, state, contract_error, reason, create_time)
    SELECT id, key, call, purpose, created_by, contract, function, payload, conditions::bytea[],
        priority, {int(IntentState.QUEUED)}, 0, '', create_time
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
        $9::text[], $10::int[], $11::timestamptz[])
        AS new (id, key, call, purpose, created_by, contract, function, payload, conditions, priority, create_time)
    ON CONFLICT (key) DO NOTHING RETURNING id
), told AS (SELECT pg_notify('{INTENT_CHANNEL}', '') WHERE EXISTS (SELECT FROM added))
SELECT id FROM added, told"""


@dataclass(frozen=True, slots=True)
class NewIntent:
    """A row of `intent` to be: what is asked for, and nothing that has happened yet."""

    id: str
    key: str
    call: bytes
    purpose: str
    created_by: str
    contract: str
    function: str
    payload: bytes
    post_conditions: list[bytes]
    priority: int
    create_time: dt.datetime


async def count_queued(database: Database, most: int) -> int:
    """How many intents wait, counted up to `most`."""
    return int(await database.value(_COUNT, most))


async def add_all(database: Database, intents: Sequence[NewIntent]) -> set[str]:
    """Stores those whose key is new; their ids. Of two with one key the first is stored.

    Where the connection ended in between, the answer may leave out some that were stored: whoever reads the key next
    finds them.
    """
    columns = (
        [intent.id for intent in intents],
        [intent.key for intent in intents],
        [intent.call for intent in intents],
        [intent.purpose for intent in intents],
        [intent.created_by for intent in intents],
        [intent.contract for intent in intents],
        [intent.function for intent in intents],
        [intent.payload for intent in intents],
        [_array_text(intent.post_conditions) for intent in intents],
        [intent.priority for intent in intents],
        [intent.create_time for intent in intents],
    )
    return {row[0] for row in await database.rows(_ADD, *columns)}


def _array_text(values: Sequence[bytes]) -> str:
    return "{" + ",".join(f'"\\\\x{value.hex()}"' for value in values) + "}"

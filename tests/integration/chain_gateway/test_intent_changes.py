"""Streams of intents are woken when their own intent changed, and only then."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from kernel.clock import wall_now
from kernel.database import Database, migrate
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.intent_changes import IntentChanges
from services.chain_gateway.pulse import Pulse
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import SCHEMA

_INTENT = """
INSERT INTO chain_gateway.intent (id, key, call, purpose, created_by, contract, function, payload, post_conditions,
    priority, state, contract_error, reason, give_up_reason, create_time)
VALUES ($1, $1, '', '', '', '', '', '', '{}', 1, 1, 0, '', '', $2)
"""
_REASON = "UPDATE chain_gateway.intent SET reason = 'nonce is taken' WHERE id = 'a'"


async def test_a_stream_is_woken_by_a_change_of_its_own_intent_alone(database_url: str) -> None:
    """By the first look, for a change can have come before it; then by none in which its intent is as it was."""
    await migrate(database_url, SCHEMA, Path(MIGRATIONS))
    database, connection = Database(database_url), await asyncpg.connect(database_url)
    try:
        for name in ("a", "b"):
            await connection.execute(_INTENT, name, wall_now())
        changes = IntentChanges(database, Pulse(database, INTENT_CHANNEL))
        with changes.of("a") as first, changes.of("a") as second, changes.of("b") as other:
            streams, woken = (first, second, other), []
            for statement in ("SELECT", "SELECT", _REASON, "SELECT"):
                await connection.execute(statement)
                await changes.look()
                woken.append([stream.is_set() for stream in streams])
                for stream in streams:
                    stream.clear()
    finally:
        await connection.close()
        await database.close()
    assert woken == [[True] * 3, [False] * 3, [True, True, False], [False] * 3]

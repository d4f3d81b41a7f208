"""Intents that come together are stored together, and each call is answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database, migrate
from kernel.errors import AlreadyExists, BitHedgeError, InvalidArgument, ResourceExhausted
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.intent_batches import IntentBatches
from services.chain_gateway.intent_changes import IntentChanges
from services.chain_gateway.intents import Intents
from services.chain_gateway.pulse import Pulse
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.post_condition import parse_asset
from services.chain_gateway.stacks.transaction import TESTNET
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import SCHEMA
from tests.integration.chain_gateway.scripted_gateway import DEPLOYER, publish_call

# Not pg_stat_activity, of which a transaction sees one moment.
_WAITING: Final = """
SELECT pid FROM pg_locks
WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_KEYS: Final = "SELECT key FROM chain_gateway.intent ORDER BY key"
_SECONDS: Final = 60
Outcome = pb.Intent | BaseException


@asynccontextmanager
async def _intents(url: str, queue_limit: int = 10_000) -> AsyncIterator[tuple[Intents, asyncpg.Connection]]:
    await migrate(url, SCHEMA, Path(MIGRATIONS))
    database, connection = Database(url), await asyncpg.connect(url)
    contracts = Contracts("testnet", TESTNET, parse_address(DEPLOYER), parse_asset(f"{DEPLOYER}.sbtc::sbtc"))
    try:
        changes = IntentChanges(database, Pulse(database, INTENT_CHANNEL))
        yield Intents(database, contracts, changes, IntentBatches(database, queue_limit)), connection
    finally:
        await connection.close()
        await database.close()


async def _create(intents: Intents, key: str, number: int) -> pb.Intent:
    return await intents.create("service:workflows", pb.CreateIntentRequest(key=key, call=publish_call(number)))


async def _backend_that_waits(connection: asyncpg.Connection) -> int:
    async with asyncio.timeout(_SECONDS):
        while (pid := await connection.fetchval(_WAITING)) is None:
            await asyncio.sleep(0.01)
    return int(pid)


async def test_each_of_many_calls_at_once_has_its_own_answer(database_url: str) -> None:
    """New, repeated, contradicting and invalid calls in one crowd: one row per key, and the right answer to each."""
    keys = [f"key/{number:03}" for number in range(100)]
    async with _intents(database_url) as (intents, connection):
        first = [_create(intents, key, number + 1) for number, key in enumerate(keys)]
        repeats = [_create(intents, key, number + 1) for number, key in enumerate(keys)]
        others = [_create(intents, key, number + 1000) for number, key in enumerate(keys)]
        invalid = [_create(intents, f"bad/{number}\0", 1) for number in range(20)]
        crowd = [call for calls in zip(first, repeats, others, strict=True) for call in calls]
        outcomes: list[Outcome] = await asyncio.gather(*invalid[:10], *crowd, *invalid[10:], return_exceptions=True)
        refused, answered = outcomes[:10] + outcomes[-10:], outcomes[10:-10]
        assert all(isinstance(one, InvalidArgument) for one in refused)
        names = set()
        for key, made, repeated, contradicted in zip(keys, answered[::3], answered[1::3], answered[2::3], strict=True):
            assert isinstance(made, pb.Intent) and isinstance(repeated, pb.Intent)
            assert made.name == repeated.name and made.key == key
            assert isinstance(contradicted, AlreadyExists) and contradicted.reason == "INTENT_KEY_REUSED"
            names.add(made.name)
        assert [row["key"] for row in await connection.fetch(_KEYS)] == keys
        assert len(names) == len(keys)


async def test_a_call_that_goes_away_takes_nothing_from_the_others(database_url: str) -> None:
    """Calls are cancelled while their group is stored and while it waits: the rest are answered, and repeats find one
    intent each."""
    async with _intents(database_url) as (intents, connection):
        async with connection.transaction():
            await connection.execute("LOCK TABLE chain_gateway.intent IN SHARE MODE")
            calls = [asyncio.ensure_future(_create(intents, f"key/{number}", number + 1)) for number in range(20)]
            await _backend_that_waits(connection)
            for call in calls[::2]:
                call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes[::2])
        names = {one.name for one in outcomes[1::2] if isinstance(one, pb.Intent)}
        assert len(names) == 10
        again = await asyncio.gather(*(_create(intents, f"key/{number}", number + 1) for number in range(20)))
        assert names < {one.name for one in again}
        assert await connection.fetchval("SELECT count(*) FROM chain_gateway.intent") == 20


async def test_a_connection_that_is_killed_while_a_group_is_stored_costs_nothing(database_url: str) -> None:
    """The server ends the session in the middle of the statement: every call is answered, and stored once."""
    async with _intents(database_url) as (intents, connection):
        async with connection.transaction():
            await connection.execute("LOCK TABLE chain_gateway.intent IN SHARE MODE")
            calls = [asyncio.ensure_future(_create(intents, f"key/{number}", number + 1)) for number in range(20)]
            await connection.execute("SELECT pg_terminate_backend($1)", await _backend_that_waits(connection))
        assert len({one.name for one in await asyncio.gather(*calls)}) == 20
        assert await connection.fetchval("SELECT count(*) FROM chain_gateway.intent") == 20


@pytest.mark.parametrize("limit", [0, 7])
async def test_a_full_queue_refuses_what_is_new_and_knows_what_it_has(database_url: str, limit: int) -> None:
    """Of twenty calls at once as many are taken in as there is room for; the others may come again, repeats answer."""
    async with _intents(database_url, limit) as (intents, _):
        calls = [_create(intents, f"key/{number:02}", number + 1) for number in range(20)]
        outcomes: list[Outcome] = await asyncio.gather(*calls, return_exceptions=True)
        taken = [number for number, one in enumerate(outcomes) if isinstance(one, pb.Intent)]
        assert taken == list(range(limit))
        assert all(isinstance(one, BitHedgeError | pb.Intent) for one in outcomes)
        assert all(isinstance(one, ResourceExhausted) for one in outcomes[limit:])
        for number in taken:
            first = outcomes[number]
            assert isinstance(first, pb.Intent)
            assert (await _create(intents, f"key/{number:02}", number + 1)).name == first.name

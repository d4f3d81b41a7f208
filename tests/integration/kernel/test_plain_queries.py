"""`Database.value`: single queries on connections of their own, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest

from kernel.database import Database

_SQUARE: Final = "SELECT $1::int * $1::int WHERE $1::int > 0"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    found = Database(database_url)
    yield found
    await found.close()


async def test_each_of_many_callers_gets_its_own_value(database: Database) -> None:
    """A hundred at once, the very first among them: each has its own value, or None where nothing was found."""
    found = await asyncio.gather(*(database.value(_SQUARE, number) for number in range(100)))
    assert found == [None, *(number * number for number in range(1, 100))]


async def test_a_query_in_error_leaves_the_next_alone(database: Database) -> None:
    """A division by zero is told, and the same connection answers the next query."""
    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.value("SELECT 1 / $1::int", 0)
    assert await database.value("SELECT 1 / $1::int", 1) == 1


async def test_connections_that_the_server_ended_are_replaced(database: Database, database_url: str) -> None:
    """After the server has ended every connection of a process, as a restart does, the next query is answered."""
    ended = await asyncio.gather(*(database.value("SELECT pg_backend_pid()") for _ in range(4)))
    observer = await asyncpg.connect(database_url)
    try:
        for process in set(ended):
            await observer.execute("SELECT pg_terminate_backend($1)", process)
            while await observer.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", process):
                await asyncio.sleep(0.01)
    finally:
        await observer.close()
    assert await database.value("SELECT pg_backend_pid()") not in ended

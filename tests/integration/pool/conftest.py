"""Fixtures of the pool's integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.pool.__main__ import MIGRATIONS
from tests.integration.pool.pool_service import RunningPool, running_pool
from tests.postgres import create_database, create_migrated_database


@pytest.fixture(scope="session")
async def pool_schema(postgres_url: str) -> str:
    """A database with the service's schema, to copy."""
    return await create_migrated_database(postgres_url, "pool", MIGRATIONS)


@pytest.fixture
async def database_url(postgres_url: str, pool_schema: str) -> str:
    """A new database for one test, with the service's schema."""
    return await create_database(postgres_url, pool_schema)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[RunningPool]:
    """A running pool with empty books."""
    async with running_pool(database_url) as running:
        yield running

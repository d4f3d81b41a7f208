"""Fixtures of the oracle's integration tests."""

from __future__ import annotations

import pytest

from services.oracle.__main__ import MIGRATIONS
from tests.postgres import create_database, create_migrated_database


@pytest.fixture(scope="session")
async def oracle_schema(postgres_url: str) -> str:
    """A database with the service's schema, to copy."""
    return await create_migrated_database(postgres_url, "oracle", MIGRATIONS)


@pytest.fixture
async def database_url(postgres_url: str, oracle_schema: str) -> str:
    """A new database for one test, with the service's schema."""
    return await create_database(postgres_url, oracle_schema)

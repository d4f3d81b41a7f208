"""Fixtures of the policy service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.policy.harness import MIGRATIONS, House, running
from tests.postgres import create_database, create_migrated_database


@pytest.fixture(scope="session")
async def policy_schema(postgres_url: str) -> str:
    """A database with the service's schema, to copy."""
    return await create_migrated_database(postgres_url, "policy", MIGRATIONS)


@pytest.fixture
async def database_url(postgres_url: str, policy_schema: str) -> str:
    """A new database for one test, with the service's schema."""
    return await create_database(postgres_url, policy_schema)


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """The policy service with a database of its own."""
    async with running(database_url) as found:
        yield found


@pytest.fixture(scope="module")
async def shared_house(module_database_url: str) -> AsyncIterator[House]:
    """One for those tests of a module that leave nothing behind."""
    async with running(module_database_url) as found:
        yield found

"""One devnet with deployed contracts for all tests of a module, and a gateway on a database of its own per test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chain_gateway.gateway import MIGRATIONS
from tests.devnet import running_devnet
from tests.integration.chain_gateway.world import RunningGateway, World, running_gateway
from tests.postgres import create_database, create_migrated_database


@pytest.fixture(scope="session")
async def chain_gateway_schema(postgres_url: str) -> str:
    """A database with the service's schema, to copy."""
    return await create_migrated_database(postgres_url, "chain_gateway", MIGRATIONS)


@pytest.fixture
async def database_url(postgres_url: str, chain_gateway_schema: str) -> str:
    """A new database for one test, with the service's schema."""
    return await create_database(postgres_url, chain_gateway_schema)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The chain with its people."""
    folder = tmp_path_factory.mktemp("world")
    async with running_devnet(folder / "devnet", block_interval_ms=20) as devnet, World.start(devnet, folder) as world:
        yield world


@pytest.fixture
async def gateway(world: World, database_url: str) -> AsyncIterator[RunningGateway]:
    """A gateway that has ingested the whole chain."""
    async with running_gateway(world.settings(database_url)) as running:
        await running.caught_up(world)
        yield running

"""One Temporal dev server for all tests of workflows; stand-ins and a worker for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.workflows.world import World, open_world, start_temporal


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of a Temporal dev server."""
    environment = await start_temporal()
    yield environment.client
    await environment.shutdown()


@pytest.fixture
async def workerless(temporal: Client) -> AsyncIterator[World]:
    """The services, and no worker."""
    async with open_world(temporal) as world:
        yield world


@pytest.fixture
async def world(workerless: World) -> AsyncIterator[World]:
    """The services and a worker."""
    async with workerless.worker():
        yield workerless

"""Fixtures of the pool's integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.pool.pool_service import RunningPool, running_pool


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[RunningPool]:
    """A running pool with empty books."""
    async with running_pool(database_url) as running:
        yield running

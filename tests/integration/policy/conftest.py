"""Fixtures of the policy service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.policy.harness import House, running


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

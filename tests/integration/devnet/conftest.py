"""One devnet for the tests that leave it as usable as they found it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.devnet.chain import Chain, running_chain


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chain]:
    """A devnet that mines on demand; each test uses seeds of its own."""
    async with running_chain(tmp_path_factory.mktemp("devnet")) as running:
        yield running

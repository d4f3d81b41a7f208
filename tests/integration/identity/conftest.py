"""One identity service per module; users are new in each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.identity.service import Identity, User, running_identity

OPERATOR = User.new()


@pytest.fixture(scope="module")
async def identity(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Identity]:
    """A running service with one operator and the client `policy`."""
    folder: Path = tmp_path_factory.mktemp("secrets")
    async with running_identity(module_database_url, folder, (OPERATOR.principal,)) as running:
        yield running


@pytest.fixture(autouse=True)
def _real_time(identity: Identity) -> None:
    """Each test starts with the clock at wall time."""
    identity.clock.shift *= 0


@pytest.fixture
def user() -> User:
    """A new wallet."""
    return User.new()


@pytest.fixture
def operator() -> User:
    """The operator's wallet."""
    return OPERATOR

"""A gateway on a scripted node, for all tests here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.chain_gateway.config import Settings
from tests.integration.chain_gateway.scripted_gateway import scripted_settings
from tests.integration.chain_gateway.scripted_node import ScriptedNode, scripted_node
from tests.integration.chain_gateway.world import RunningGateway, running_gateway


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
def settings(node: ScriptedNode, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the scripted node."""
    return scripted_settings(node, database_url, tmp_path)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[RunningGateway]:
    """A gateway on the scripted node."""
    async with running_gateway(settings) as running:
        await running.tip(1)
        yield running

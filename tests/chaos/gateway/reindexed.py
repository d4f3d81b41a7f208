"""The gateway's own comparison of its tables with the chain, beside the one that the judge makes."""

from __future__ import annotations

import aiohttp

from services.chain_gateway.gateway import open_database
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.reindex.comparison import Reindex
from tests.chaos.gateway.scene import Scene


async def reindex_differences(scene: Scene, database_url: str) -> list[str]:
    """Every difference that a re-index from the first block finds."""
    settings = scene.world.settings(database_url)
    database = open_database(settings)
    try:
        async with aiohttp.ClientSession() as http:
            nodes = NodePool.open(settings.node_urls, http, settings.node_timeout_seconds)
            reindex = Reindex(database, nodes, settings.contracts(), settings.start_stacks_height)
            report = await reindex.compare()
    finally:
        await database.close()
    return [f"re-index: {difference}" for difference in report.differences]

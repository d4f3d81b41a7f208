"""A devnet with our contracts whose blocks come when a row says, and the gateway's process on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bithedge.type.v1 import price_pb2

from tests.bench.background import running
from tests.bench.processes import Identity, running_service
from tests.devnet import Devnet, running_devnet
from tests.integration.chain_gateway.world import USD, World

_SETUP_BLOCK_SECONDS: Final = 0.02


@asynccontextmanager
async def mining(devnet: Devnet, every_seconds: float) -> AsyncIterator[None]:
    """Mines what is ready, at intervals, while the block of code runs."""

    async def mine() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            await devnet.advance(0)

    async with running(mine()):
        yield


@asynccontextmanager
async def running_world(folder: Path) -> AsyncIterator[World]:
    """Contracts deployed, people funded; from then on a block is mined only when asked for."""
    async with running_devnet(folder / "devnet", block_interval_ms=0) as devnet, contextlib.AsyncExitStack() as stack:
        async with mining(devnet, _SETUP_BLOCK_SECONDS):
            world = await stack.enter_async_context(World.start(devnet, folder))
        yield world


@asynccontextmanager
async def running_gateway(
    world: World, folder: Path, database_url: str, identity: Identity, **settings: str
) -> AsyncIterator[str]:
    """The gateway's address, as `python -m services.chain_gateway` serves it."""
    environment = {
        "DATABASE_URL": database_url,
        "IDENTITY_ADDRESS": identity.address,
        "NODE_URLS": world.devnet.url,
        "CONTRACT_DEPLOYER": world.deployer,
        "BACKEND_SIGNERS": f"file:{world.backend_key}",
        "MARKET_CLOCK": "devnet",
        **settings,
    }
    async with running_service("chain_gateway", folder, environment) as address:
        yield address


async def signed_rounds(world: World, count: int) -> list[price_pb2.PriceRound]:
    """The next rounds of BTC/USD at the devnet's height, signed by the oracle."""
    clock = await world.devnet.clock()
    return [world.signed_round(price_pb2.FEED_BTC_USD, 50_000 * USD, clock) for _ in range(count)]

"""`python -m tests.load.node --port N --deployer ADDRESS --due N --late N`: serves until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from aiohttp import web

from services.chain_gateway.contracts import Contracts
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.post_condition import Asset
from services.chain_gateway.stacks.transaction import TESTNET
from tests.load.node.chain import Chain
from tests.load.node.registry import Registry
from tests.load.node.server import Server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--deployer", required=True, help="of the contracts")
    parser.add_argument("--due", type=int, required=True, help="policies of one expiration")
    parser.add_argument("--late", type=int, required=True, help="policies that expire later")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between blocks")
    return parser.parse_args()


async def main() -> None:
    """Serves."""
    given = _arguments()
    deployer = parse_address(given.deployer)
    contracts = Contracts("testnet", TESTNET, deployer, Asset(deployer, "sbtc-token", "sbtc-token"))
    server = Server(Chain(Registry.of_plan(contracts, given.due, given.late)), given.interval)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", given.port).start()
    mining = asyncio.create_task(server.mine())
    await stop.wait()
    mining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await mining
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())

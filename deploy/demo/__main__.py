"""`make demo`: the whole product from nothing, the main job on real prices, and the proof that the books agree."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from rich.console import Console

from deploy.demo.cast import gather_cast
from deploy.demo.invariants import TokenBooks, check_books, read_books
from deploy.demo.market import DemoError, Market, Moment
from deploy.demo.plan import MARKET_START
from deploy.demo.progress import MarketProgress
from deploy.demo.report import Result, check_payouts, show, write_json
from deploy.demo.scenario import Cast, Scenario
from deploy.devnet.driver import DevnetClient, DevnetError
from deploy.local.contracts import DeploymentError
from deploy.local.layout import REPOSITORY, Layout, Ports
from deploy.local.postgres import PostgresError
from deploy.local.processes import StackError, disk_full_message
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet, WalletError
from kernel.errors import BitHedgeError
from kernel.process import end_command
from kernel.rpc.channels import open_channel


class Demo:
    """One run on a stack of its own."""

    def __init__(self, state: Path, console: Console) -> None:
        layout = Layout(state, Ports.free(), MARKET_START, 0.0)
        self._layout = layout
        self._console = console
        self._stack = Stack(layout, lambda line: console.print(f"  {line}"))
        self._cast: Cast | None = None
        self._books: dict[str, TokenBooks] = {}
        self._assertions = 0
        self._progress = MarketProgress(console)
        self._started = time.monotonic()

    async def run(self) -> Result:
        """Starts the stack, plays, and stops it again whatever happened."""
        try:
            await self._stack.start()
            self._console.print(f"  Temporal UI while it runs: {self._layout.temporal_ui}")
            return await self._play()
        finally:
            self._stack.stop()

    async def _play(self) -> Result:
        async with AsyncExitStack() as opened:
            devnet = await opened.enter_async_context(DevnetClient(self._layout.node_url))
            wallet = await opened.enter_async_context(Wallet(self._layout.node_url))
            oracle = await opened.enter_async_context(open_channel(self._layout.address("oracle")))
            cast = await gather_cast(self._stack, devnet, wallet)
            self._cast = cast
            stub = oracle_grpc.OracleServiceStub(oracle)
            market = Market(devnet, cast.operator.services, stub, self._after_block)
            with self._progress:
                reconciliation = await Scenario(cast, market, devnet, self._say).play()
            return await self._result(cast, market, reconciliation)

    async def _after_block(self, moment: Moment) -> None:
        assert self._cast is not None
        self._books = await read_books(self._cast.operator.services)
        self._assertions += check_books(self._books)
        self._progress.block(moment, self._books, self._assertions)

    def _say(self, line: str) -> None:
        self._console.print(f"[bold]{line}[/bold]")

    async def _result(self, cast: Cast, market: Market, reconciliation: pool_pb2.Reconciliation) -> Result:
        policies = [(played, await played.policy()) for played in cast.played]
        check_payouts(policies)
        self._books = await read_books(cast.operator.services)
        self._assertions += check_books(self._books)
        for name, books in self._books.items():
            if books.chain_locked == 0:
                raise DemoError(f"nothing is locked in {name}, though a policy is open")
        seconds = time.monotonic() - self._started
        return Result(policies, self._books, reconciliation, self._assertions, market.blocks, seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Plays the main job from nothing.")
    parser.add_argument("--state", type=Path, default=REPOSITORY / ".state" / "demo", help="emptied at the start")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "demo.json")
    return parser.parse_args()


def _clear(state: Path) -> None:
    """Empties the folder of the last run, and stops what that run left if it was killed."""
    if state.exists():
        Stack(Layout(state, Ports.free(), MARKET_START, 0.0)).stop()
        shutil.rmtree(state)


def main() -> int:
    """0 only if every assertion held."""
    given = _arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    # Whoever ends the demo also ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _clear(given.state)
        result = asyncio.run(Demo(given.state, console).run())
        write_json(result, given.output)
    except KeyboardInterrupt:
        print("demo: interrupted; everything it started has been stopped", file=sys.stderr)
        return 130
    except (
        DemoError,
        StackError,
        DeploymentError,
        PostgresError,
        DevnetError,
        WalletError,
        BitHedgeError,
        TimeoutError,
    ) as error:
        print(f"demo: {error or type(error).__name__} (logs: {given.state / 'processes'})", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"demo: {disk_full_message(error) or error}", file=sys.stderr)
        return 1
    show(result, console)
    console.print(f"written to {given.output}")
    return 1 if result.reconciliation.differences else 0


if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    end_command(main())

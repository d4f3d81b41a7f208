"""The `bithedge` command: the local stack up and down, and a look at what it knows."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from rich.console import Console
from rich.table import Table

from cli.look import print_price, print_quote, print_receipt, print_services
from cli.rebuild import REBUILT, rebuild_books
from cli.trial import Trial
from deploy.demo.market import DemoError
from deploy.devnet.driver import DevnetError
from deploy.local.contracts import DeploymentError
from deploy.local.layout import SERVICES, Layout, default_layout
from deploy.local.postgres import PostgresError
from deploy.local.processes import StackError, disk_full_message
from deploy.local.stack import PROCESSES, Stack
from deploy.wallet.driver import WalletError
from kernel.errors import BitHedgeError
from kernel.process import end_command

_CONSOLE: Final = Console(highlight=False)
Command = Callable[[argparse.Namespace, Layout], Awaitable[None]]


async def _up(_: argparse.Namespace, layout: Layout) -> None:
    stack = Stack(layout, lambda line: _CONSOLE.print(f"  {line}"))
    await stack.start()
    table = Table("process", "address", "metrics", title="BitHedge is up", title_justify="left")
    for name in SERVICES:
        table.add_row(name, layout.address(name), layout.metrics_url(name))
    table.add_row("workflows", "(worker)", layout.metrics_url("workflows"))
    table.add_row("temporal", layout.temporal_address, layout.temporal_ui)
    table.add_row("devnet", layout.node_url, f"{layout.node_url}/devnet/clock")
    _CONSOLE.print(table)
    _CONSOLE.print(f"logs in {layout.state / 'processes'}\n\ntry next:")
    for command in ("services", "price", "policy", "quote --sats 10000000 --strike 7500 --floor 5000 --blocks 288"):
        _CONSOLE.print(f"  {sys.executable} -m cli {command}", soft_wrap=True)
    _CONSOLE.print(f"  open {layout.temporal_ui} in a browser\n  make down")


async def _down(given: argparse.Namespace, layout: Layout) -> None:
    if given.service:
        Stack(layout).processes.stop([given.service])
        _CONSOLE.print(f"{given.service} has stopped; `up` starts it again")
        return
    Stack(layout).stop()
    _CONSOLE.print("everything has stopped; the state is kept")


async def _rebuild(given: argparse.Namespace, layout: Layout) -> None:
    if await rebuild_books(Stack(layout, _CONSOLE.print), given.service, given.compare, _CONSOLE.print):
        raise StackError("the books differ")


async def _status(_: argparse.Namespace, layout: Layout) -> None:
    processes = Stack(layout).processes
    for name in PROCESSES:
        process = processes.running(name)
        _CONSOLE.print(f"{name:14} {'stopped' if process is None else f'running, pid {process.pid}'}")


async def _policy(_: argparse.Namespace, layout: Layout) -> None:
    await Trial(_CONSOLE, layout, Stack(layout).keys).run()


async def _services(_: argparse.Namespace, layout: Layout) -> None:
    await asyncio.to_thread(print_services, _CONSOLE, layout)


async def _price(_: argparse.Namespace, layout: Layout) -> None:
    await print_price(_CONSOLE, layout)


async def _quote(given: argparse.Namespace, layout: Layout) -> None:
    await print_quote(_CONSOLE, layout, given.sats, given.strike, given.floor, given.blocks, given.token)


async def _receipt(given: argparse.Namespace, layout: Layout) -> None:
    await print_receipt(layout, given.policy, given.activation, given.expiry)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bithedge", description="The local stack and a look into it.")
    commands = parser.add_subparsers(required=True)
    simple: dict[str, tuple[Command, str]] = {
        "up": (_up, "start what does not run, and wait until everything serves"),
        "status": (_status, "which processes run"),
        "services": (_services, "ask every service for its methods, by reflection"),
        "price": (_price, "the latest prices with their sources"),
        "policy": (_policy, "deposit into the pool and buy a policy, with wallets of their own"),
    }
    for name, (command, help_text) in simple.items():
        commands.add_parser(name, help=help_text).set_defaults(command=command)
    down = commands.add_parser("down", help="stop everything, or one service; the state is kept")
    down.add_argument("service", nargs="?", choices=SERVICES, help="this one alone")
    down.set_defaults(command=_down)
    rebuild = commands.add_parser("rebuild", help="drop the books of a service and make them again; docs/rebuild.md")
    rebuild.add_argument("service", choices=REBUILT, help="whose books")
    rebuild.add_argument("--compare", action="store_true", help="make them beside those that stand, and compare")
    rebuild.set_defaults(command=_rebuild)
    parser.add_argument("--live", action="store_true", help="the stack whose oracle reads stand-ins of exchanges")
    quote = commands.add_parser("quote", help="an indicative quote")
    quote.add_argument("--sats", type=int, required=True, help="protected amount in sats")
    quote.add_argument("--strike", type=int, required=True, help="strike in whole USD per BTC")
    quote.add_argument("--floor", type=int, required=True, help="floor in whole USD per BTC")
    quote.add_argument("--blocks", type=int, required=True, help="duration in burn blocks, ten minutes each")
    quote.add_argument("--token", choices=("STX", "SBTC"), default="SBTC", help="settlement token")
    quote.set_defaults(command=_quote)
    receipt = commands.add_parser("receipt", help="a settlement receipt with its evidence, as JSON")
    purpose = receipt.add_mutually_exclusive_group(required=True)
    purpose.add_argument("--policy", help="of an activation of this policy: policies/{id}")
    purpose.add_argument("--expiry", type=int, help="of this expiration height")
    receipt.add_argument("--activation", type=int, default=1, help="number of the activation; 1 unless given")
    receipt.set_defaults(command=_receipt)
    return parser


def main() -> int:
    """0, or 1 with one line that says what to mend."""
    given = _parser().parse_args()
    try:
        asyncio.run(given.command(given, default_layout(given.live)))
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
        print(f"bithedge: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"bithedge: {disk_full_message(error) or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    end_command(main())

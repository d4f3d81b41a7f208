"""The stand-ins as a program: `python -m deploy.exchanges`. Prints `listening ADDRESS` when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import signal
from pathlib import Path
from typing import Final

from deploy.devnet.driver import DevnetClient, DevnetError
from deploy.exchanges.market import Market
from deploy.exchanges.server import ExchangeServer
from deploy.exchanges.sources import sources_document

_DATA: Final = Path(__file__).resolve().parents[2] / "data"
_START: Final = "2020-03-11T12:00:00+00:00"
_LOOK_SECONDS: Final = 0.1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.exchanges", description=__doc__)
    parser.add_argument("--port", type=int, default=7750)
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the recorded prices")
    parser.add_argument("--market-start", type=dt.datetime.fromisoformat, default=_START, help="ISO 8601 with a zone")
    parser.add_argument("--devnet", default="", help="URL of a devnet whose market time is followed")
    parser.add_argument("--write-sources", type=Path, help="where to write a file for LIVE_SOURCES_FILE")
    return parser.parse_args()


async def _follow(devnet_url: str, server: ExchangeServer) -> None:
    async with DevnetClient(devnet_url) as devnet:
        while True:
            # A devnet that starts again is waited for.
            with contextlib.suppress(DevnetError):
                time = dt.datetime.fromtimestamp((await devnet.clock()).market_time, dt.UTC)
                if time != server.market.now:
                    await server.move(time)
            await asyncio.sleep(_LOOK_SECONDS)


async def main() -> None:
    """Serves until told to stop."""
    arguments, stop = _arguments(), asyncio.Event()
    server = ExchangeServer(Market(arguments.data, arguments.market_start))
    await server.start(arguments.port)
    if arguments.write_sources is not None:
        arguments.write_sources.write_text(sources_document(server.address, {}), encoding="utf-8")
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    print(f"listening http://{server.address}", flush=True)
    tasks: list[asyncio.Future[object]] = [asyncio.ensure_future(stop.wait())]
    if arguments.devnet:
        tasks.append(asyncio.ensure_future(_follow(arguments.devnet, server)))
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await server.stop()
    for task in done:
        task.result()


if __name__ == "__main__":
    asyncio.run(main())

"""The least follower of a chain: polls a node, inserts one row per transaction of a new block, tells its txid.

`python -m tests.bench.yardsticks.block_follower --node URL --poll-ms N --database URL` prints `listening PORT`. One
bare grpc.aio server on uvloop with one stream, `/bench.Follower/Watch`, of txids in hex.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import asyncpg
import grpc

from tests.bench.yardsticks.bare_server import run, start_bare_server

METHOD: Final = "/bench.Follower/Watch"
_INSERT: Final = "INSERT INTO followed (txid, height) VALUES ($1, $2)"


class _Follower:
    def __init__(self) -> None:
        self._readers: list[asyncio.Queue[bytes]] = []

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """The txids from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._readers.append(queue)
        while True:
            yield await queue.get()

    async def follow(self, node: str, poll_seconds: float, database: asyncpg.Connection[asyncpg.Record]) -> None:
        """Polls until cancelled."""
        height = 0
        async with aiohttp.ClientSession() as http:
            while True:
                block = await _json(http, f"{node}/extended/v2/blocks/latest")
                if block["height"] != height:
                    height = block["height"]
                    page = await _json(http, f"{node}/extended/v2/blocks/{block['hash']}/transactions")
                    await self._tell([one["tx_id"].removeprefix("0x") for one in page["results"]], height, database)
                await asyncio.sleep(poll_seconds)

    async def _tell(self, txids: list[str], height: int, database: asyncpg.Connection[asyncpg.Record]) -> None:
        for txid in txids:
            await database.execute(_INSERT, txid, height)
            for queue in self._readers:
                queue.put_nowait(txid.encode())


async def _json(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as response:
        return await response.json()


async def _serve(chosen: argparse.Namespace) -> None:
    database = await asyncpg.connect(chosen.database)
    await database.execute("CREATE TABLE followed (txid text PRIMARY KEY, height bigint NOT NULL)")
    follower = _Follower()
    handler: Any = grpc.unary_stream_rpc_method_handler(follower.watch)
    server = await start_bare_server({METHOD: handler})
    try:
        await follower.follow(chosen.node, chosen.poll_ms / 1000, database)
    finally:
        await server.stop(None)


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True)
    parser.add_argument("--poll-ms", type=float, required=True)
    parser.add_argument("--database", required=True)
    run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

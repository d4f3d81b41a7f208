"""The least gRPC fan-out: what one call brings goes to every open stream, after one row was inserted if told so.

`python -m tests.bench.yardsticks.fan_out_server [--database URL]` prints `listening PORT`. One bare grpc.aio server on
uvloop, a queue for each stream, bytes as they came.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import grpc

from tests.bench.yardsticks.bare_server import run, start_bare_server

WATCH: Final = "/bench.FanOut/Watch"
TELL: Final = "/bench.FanOut/Tell"
_INSERT: Final = "INSERT INTO told (body) VALUES ($1)"


class _FanOut:
    def __init__(self, database: asyncpg.Connection[asyncpg.Record] | None) -> None:
        self._database = database
        self._readers: set[asyncio.Queue[bytes]] = set()

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._readers.add(queue)
        try:
            # So that whoever opens a stream knows that it stands.
            yield b"open"
            while True:
                yield await queue.get()
        finally:
            self._readers.discard(queue)

    async def tell(self, request: bytes, context: Any) -> bytes:
        if self._database is not None:
            await self._database.execute(_INSERT, request)
        for queue in self._readers:
            queue.put_nowait(request)
        return b""


async def _serve(chosen: argparse.Namespace) -> None:
    database = None
    if chosen.database is not None:
        database = await asyncpg.connect(chosen.database)
        await database.execute("CREATE TABLE told (id bigserial PRIMARY KEY, body bytea NOT NULL)")
    fan_out = _FanOut(database)
    handlers: dict[str, Any] = {
        WATCH: grpc.unary_stream_rpc_method_handler(fan_out.watch),
        TELL: grpc.unary_unary_rpc_method_handler(fan_out.tell),
    }
    server = await start_bare_server(handlers)
    await server.wait_for_termination()


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

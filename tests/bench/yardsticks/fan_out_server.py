"""The least fan-out: one bare server of `/bench.FanOut/Watch`, whose streams all get the bytes of `/bench.FanOut/Tell`.

`python -m tests.bench.yardsticks.fan_out_server` prints `listening PORT`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from tests.bench.yardsticks.bare_server import run, start_bare_server

WATCH: Final = "/bench.FanOut/Watch"
TELL: Final = "/bench.FanOut/Tell"


class _FanOut:
    def __init__(self) -> None:
        self._readers: list[asyncio.Queue[bytes]] = []

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """What it was asked with, then what is told."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._readers.append(queue)
        yield request
        while True:
            yield await queue.get()

    async def tell(self, request: bytes, context: Any) -> bytes:
        """Tells all."""
        for queue in self._readers:
            queue.put_nowait(request)
        return b""


async def _serve() -> None:
    fan_out = _FanOut()
    watch: Any = grpc.unary_stream_rpc_method_handler(fan_out.watch)
    tell: Any = grpc.unary_unary_rpc_method_handler(fan_out.tell)
    server = await start_bare_server({WATCH: watch, TELL: tell})
    await server.wait_for_termination()


if __name__ == "__main__":
    run(_serve())

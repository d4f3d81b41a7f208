"""A grpc.aio server of a few methods on uvloop, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import grpc
import uvloop


async def start_bare_server(handlers: Mapping[str, Any]) -> grpc.aio.Server:
    """Serves handlers of raw bytes under paths of one service such as `/bench.Echo/Call`; prints `listening PORT`."""
    parts = [path.strip("/").partition("/") for path in handlers]
    methods = {name: handler for (_, _, name), handler in zip(parts, handlers.values(), strict=True)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(parts[0][0], methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening {port}", flush=True)
    return server


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs until it is killed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)

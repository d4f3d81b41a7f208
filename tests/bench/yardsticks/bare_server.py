"""A grpc.aio server of one method on uvloop, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc
import uvloop


async def start_bare_server(method: str, handler: Any) -> grpc.aio.Server:
    """Serves a handler of raw bytes under a path such as `/bench.Echo/Call`; prints `listening PORT`."""
    service, _, name = method.strip("/").partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening {port}", flush=True)
    return server


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs until it is killed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)

"""One gRPC server per process: health, reflection, metrics, background tasks, graceful stop on SIGTERM.

A background task that fails ends the process: whoever runs it starts it again, from what the database holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import prometheus_client
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kernel.log import get_logger
from kernel.rpc.access import AccessRules
from kernel.rpc.interceptors import GuardedServer
from kernel.rpc.tokens import TokenVerifier

_GRACE_SECONDS: Final = 5.0
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

Background = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Service:
    """One gRPC service of a process: its description, and how its servicer is added to a server."""

    descriptor: ServiceDescriptor
    add_to: Callable[[grpc.aio.Server], None]


@dataclass(frozen=True)
class Process:
    """What a process serves and does. `listen` is `host:port`; `metrics_port` 0 serves no metrics."""

    listen: str
    metrics_port: int
    services: Sequence[Service]
    verifier: TokenVerifier
    background: Sequence[Background] = ()
    on_close: Sequence[Callable[[], Awaitable[None]]] = field(default=())


async def start_server(process: Process) -> tuple[grpc.aio.Server, int, health.aio.HealthServicer]:
    """A started server, its port, and its health servicer, all SERVING. OSError if the port is in use."""
    rules = AccessRules(service.descriptor for service in process.services)
    server = grpc.aio.server(options=_OPTIONS)
    guarded: Any = GuardedServer(server, rules, process.verifier)
    for service in process.services:
        service.add_to(guarded)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, guarded)
    names = [service.descriptor.full_name for service in process.services]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _add_port(server, process.listen)
    await server.start()
    for name in ("", *names):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, port, health_servicer


def _add_port(server: grpc.aio.Server, listen: str) -> int:
    host, _, port = listen.rpartition(":")
    try:
        if port != "0":
            # Tried first because gRPC would print lines of its own.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host.strip("[]"), int(port)), family=family).close()
        return server.add_insecure_port(listen)
    except (OSError, ValueError, RuntimeError) as error:
        raise OSError(f"cannot listen on {listen}: is the port in use?") from error


async def serve(process: Process) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way and returns."""
    if process.metrics_port:
        prometheus_client.start_http_server(process.metrics_port, addr=process.listen.rpartition(":")[0])
    server, port, health_servicer = await start_server(process)
    get_logger().info("serving", port=port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        await _run_until(stop, process.background)
    finally:
        await health_servicer.enter_graceful_shutdown()
        await server.stop(_GRACE_SECONDS)
        for close in process.on_close:
            await close()
        get_logger().info("stopped")


async def _run_until(stop: asyncio.Event, background: Sequence[Background]) -> None:
    stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(work()) for work in background]
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

"""The oracle as a process of its own, and the identity service that it asks for its token."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from bithedge.identity.v1 import identity_service_pb2 as identity_pb2
from bithedge.identity.v1 import identity_service_pb2_grpc as identity_grpc
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api

from kernel.rpc.channels import wait_until_serving
from kernel.rpc.interceptors import Context
from kernel.rpc.server import Process, Service, start_server
from tests.integration.oracle.harness import CHAIN_ID, DEPLOYER, KEY
from tests.tokens import TestTokens

ROOT = Path(__file__).resolve().parents[3]
SERVICE = "bithedge.oracle.v1.OracleService"

if TYPE_CHECKING:

    class _Servicer:
        """Nothing."""

else:
    _Servicer = identity_grpc.IdentityServiceServicer


class IdentityStandIn(_Servicer):
    """Gives every client who knows the secret a token that `TestTokens` believes."""

    async def CreateServiceToken(
        self, request: identity_pb2.CreateServiceTokenRequest, context: Context
    ) -> identity_pb2.CreateServiceTokenResponse:
        """A token for a long time."""
        assert (request.client, request.secret) == ("oracle", "a secret")
        answer = identity_pb2.CreateServiceTokenResponse(access_token="service:oracle|SERVICE")
        answer.expire_time.seconds = 2**33
        return answer


async def serve_identity() -> tuple[grpc.aio.Server, str]:
    """Serves the stand-in; the server and its address."""
    servicer: Any = IdentityStandIn()
    service = Service(
        identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
        lambda server: identity_grpc.add_IdentityServiceServicer_to_server(servicer, server),
    )
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, [service], TestTokens()))
    return server, f"127.0.0.1:{port}"


def free_address() -> str:
    """`host:port` that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def process_environment(tmp_path: Path, database_url: str) -> dict[str, str]:
    """Settings of an oracle whose neighbours do not answer."""
    for name, content in (("key", KEY.hex()), ("secret", "a secret\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    neighbours = ("IDENTITY_ADDRESS", "CHAIN_GATEWAY_ADDRESS", "TEMPORAL_ADDRESS")
    return {
        **dict.fromkeys(neighbours, "127.0.0.1:1"),
        "LISTEN": free_address(),
        "DATABASE_URL": database_url,
        "SERVICE_SECRET_FILE": str(tmp_path / "secret"),
        "ORACLE_KEY_FILE": str(tmp_path / "key"),
        "CHAIN_ID": str(CHAIN_ID),
        "CONTRACT_DEPLOYER": DEPLOYER,
        "NETWORK": "testnet",
        "PRICE_DATA": str(ROOT / "data"),
        "PATH": os.environ["PATH"],
    }


@asynccontextmanager
async def oracle_process(environment: dict[str, str]) -> AsyncIterator[Any]:
    """A running process that serves; ends it with SIGTERM and expects success."""
    command = (sys.executable, "-m", "services.oracle")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await wait_until_serving(environment["LISTEN"], SERVICE, 60)
        async with grpc.aio.insecure_channel(environment["LISTEN"]) as channel:
            yield grpc_api.OracleServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

"""The oracle as a process of its own: starts alone, publishes through a real Temporal, ends on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from bithedge.identity.v1 import identity_service_pb2 as identity_pb2
from bithedge.identity.v1 import identity_service_pb2_grpc as identity_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api
from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from kernel.rpc.channels import wait_until_serving
from kernel.rpc.interceptors import Context
from kernel.rpc.server import Process, Service, start_server
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import BTC, CHAIN_ID, DEPLOYER, KEY, START, eventually
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


async def _serve_identity() -> tuple[grpc.aio.Server, str]:
    servicer: Any = IdentityStandIn()
    service = Service(
        identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
        lambda server: identity_grpc.add_IdentityServiceServicer_to_server(servicer, server),
    )
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, [service], TestTokens()))
    return server, f"127.0.0.1:{port}"


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def environment(tmp_path: Path, database_url: str) -> dict[str, str]:
    """Settings of an oracle whose neighbours do not answer."""
    for name, content in (("key", KEY.hex()), ("secret", "a secret\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    neighbours = ("IDENTITY_ADDRESS", "CHAIN_GATEWAY_ADDRESS", "TEMPORAL_ADDRESS")
    return {
        **dict.fromkeys(neighbours, "127.0.0.1:1"),
        "LISTEN": _free_address(),
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
async def _process(environment: dict[str, str]) -> AsyncIterator[Any]:
    """A running process that serves; ends it with SIGTERM and expects success."""
    command = (sys.executable, "-m", "services.oracle")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await wait_until_serving(environment["LISTEN"], SERVICE, 20)
        async with grpc.aio.insecure_channel(environment["LISTEN"]) as channel:
            yield grpc_api.OracleServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_starts_alone(environment: dict[str, str]) -> None:
    """With no gateway, identity service or Temporal it serves: there is no price yet, and it says so."""
    async with _process(environment) as stub:
        answer = await stub.GetPrice(pb.GetPriceRequest(feed=BTC))
    assert answer.price.status == pb.PRICE_STATUS_UNAVAILABLE
    assert answer.price.reason.startswith("NO_ROUND_YET")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PRICE_SOURCE": "hearsay"}, "PRICE_SOURCE"),
        ({"PRICE_DATA": "/nowhere"}, "PRICE_DATA"),
        ({"NETWORK": "mainnet"}, "NETWORK"),
        ({"ORACLE_KEY_FILE": "/nowhere"}, "ORACLE_KEY_FILE"),
    ],
)
async def test_a_wrong_setting_is_one_clear_line(
    environment: dict[str, str], changes: dict[str, str], named: str
) -> None:
    """It ends at once with code 2 and one line that names the setting."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.oracle",
        cwd=ROOT,
        env=environment | changes,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert len(errors.decode().strip().splitlines()) == 1
    assert errors.decode().startswith("oracle: ")
    assert named in errors.decode()


async def test_a_publication_reaches_temporal_when_it_comes(environment: dict[str, str]) -> None:
    """Rounds are made and decided while Temporal is away; once it is there the workflow of the first round is
    started under its id with its feed and number."""
    gateway = GatewayStandIn(START)
    gateway_server, environment["CHAIN_GATEWAY_ADDRESS"] = await serve_gateway(gateway)
    identity_server, environment["IDENTITY_ADDRESS"] = await _serve_identity()
    environment["TEMPORAL_ADDRESS"] = address = _free_address()
    async with _process(environment) as stub:

        async def priced() -> bool:
            answer = await stub.GetPrice(pb.GetPriceRequest(feed=BTC))
            return bool(answer.price.status == pb.PRICE_STATUS_OK)

        await eventually(priced)
        temporal = await WorkflowEnvironment.start_local(
            port=int(address.rpartition(":")[2]),
            dev_server_existing_path=shutil.which("temporal", path=str(Path(sys.executable).parent)),
        )
        handle = temporal.client.get_workflow_handle(f"publish/BTC_USD/{int(START.timestamp())}")
        found: list[WorkflowExecutionDescription] = []

        async def started() -> bool:
            try:
                found.append(await handle.describe())
            except RPCError:
                return False
            return True

        await eventually(started)
        await temporal.shutdown()
    await gateway_server.stop(None)
    await identity_server.stop(None)
    assert found[0].workflow_type == "PublishPrice"

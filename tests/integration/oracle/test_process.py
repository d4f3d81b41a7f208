"""The oracle as a process of its own: starts alone, publishes through a real Temporal, ends on SIGTERM."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import BTC, START, eventually
from tests.integration.oracle.process import ROOT, free_address, oracle_process, process_environment, serve_identity


@pytest.fixture
def environment(tmp_path: Path, empty_database_url: str) -> dict[str, str]:
    """Settings of an oracle whose neighbours do not answer."""
    return process_environment(tmp_path, empty_database_url)


async def test_it_starts_alone(environment: dict[str, str]) -> None:
    """With no gateway, identity service or Temporal it serves: there is no price yet, and it says so."""
    async with oracle_process(environment) as stub:
        answer = await stub.GetPrice(pb.GetPriceRequest(feed=BTC))
    assert answer.price.status == pb.PRICE_STATUS_UNAVAILABLE
    assert answer.price.reason.startswith("NO_ROUND_YET")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PRICE_SOURCE": "hearsay"}, "PRICE_SOURCE"),
        ({"PRICE_DATA": "/nowhere"}, "PRICE_DATA"),
        ({"PRICE_SOURCE": "live", "LIVE_SOURCES_FILE": "/nowhere"}, "LIVE_SOURCES_FILE"),
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
    identity_server, environment["IDENTITY_ADDRESS"] = await serve_identity()
    environment["TEMPORAL_ADDRESS"] = address = free_address()
    async with oracle_process(environment) as stub:

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

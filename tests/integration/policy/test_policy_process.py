"""The policy process as it is deployed: starts alone, serves, refuses plainly, stops when told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.policy.v1 import policy_service_pb2_grpc

from kernel.rpc.channels import open_channel, wait_until_serving
from tests.integration.policy.harness import HOLDER, policy_terms
from tests.integration.policy.test_policy_refusals import refusal

_START_SECONDS = 60.0


@pytest.fixture
def environment(empty_database_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a process on a free port; of what it calls nothing is there."""
    secret = tmp_path / "policy"
    secret.write_text("secret")
    secret.chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = ("IDENTITY_ADDRESS", "CHAIN_GATEWAY_ADDRESS", "ORACLE_ADDRESS", "POOL_ADDRESS", "TEMPORAL_ADDRESS")
    return dict.fromkeys(others, "127.0.0.1:1") | {
        "LISTEN": f"127.0.0.1:{port}",
        "DATABASE_URL": empty_database_url,
        "CONTRACT_DEPLOYER": HOLDER,
        "SERVICE_SECRET_FILE": str(secret),
    }


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    """The process."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.policy", env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE
    )


async def test_it_starts_before_the_others_and_stops_on_sigterm(environment: dict[str, str]) -> None:
    """Health is SERVING with every other service down; figures are answered, quotes are UNAVAILABLE; SIGTERM is 0."""
    process = await start(environment)
    try:
        await wait_until_serving(environment["LISTEN"], "bithedge.policy.v1.PolicyService", _START_SECONDS)
        channel = open_channel(environment["LISTEN"])
        stub: policy_service_pb2_grpc.PolicyServiceAsyncStub = policy_service_pb2_grpc.PolicyServiceStub(channel)
        stats = await stub.GetPlatformStats(pb.GetPlatformStatsRequest())
        assert len(stats.counts) == 8
        error = await refusal(stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms())))
        assert (error.code, error.reason) == ("UNAVAILABLE", "TIP_UNKNOWN")
        await channel.close()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_START_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_missing_setting_is_one_plain_line(environment: dict[str, str]) -> None:
    """Without a setting the process ends with code 2 and names the variable."""
    del environment["ORACLE_ADDRESS"]
    process = await start(environment)
    assert process.stderr is not None
    text = (await process.stderr.read()).decode()
    assert await process.wait() == 2
    assert text.strip() == "policy: ORACLE_ADDRESS is not set"

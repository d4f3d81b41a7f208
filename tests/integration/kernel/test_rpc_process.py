"""How a real process of ours ends: told to stop, its port taken, its background work failed."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.rpc.channels import open_channel, wait_until_serving
from tests.integration.kernel.rpc_service import NAME

_SECONDS = 60.0
_BEARER = (("authorization", "Bearer anyone"),)


@pytest.fixture
def address() -> str:
    """A free address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@asynccontextmanager
async def _child(address: str, behaviour: str = "serve") -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.kernel.rpc_child", address, behaviour, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _end(process: asyncio.subprocess.Process) -> tuple[int | None, list[str], list[str]]:
    async with asyncio.timeout(_SECONDS):
        said, complained = await process.communicate()
    return process.returncode, said.decode().splitlines(), complained.decode().splitlines()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_told_to_stop_finishes_what_is_under_way(address: str, stop: signal.Signals) -> None:
    """The open call is answered to its end, a new one is refused, background work and resources end, exit code 0."""
    async with _child(address) as process:
        await wait_until_serving(address, NAME, _SECONDS)
        async with open_channel(address) as channel:
            stub = pb_grpc.ChainGatewayServiceStub(channel)
            answers = aiter(stub.WatchTip(pb.WatchTipRequest(), metadata=_BEARER))
            assert (await anext(answers)).tip.stacks_height == 1
            process.send_signal(stop)
            assert (await anext(answers)).tip.stacks_height == 2
            with pytest.raises(StopAsyncIteration):
                await anext(answers)
        async with open_channel(address) as channel:
            stub = pb_grpc.ChainGatewayServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetTip(pb.GetTipRequest(), timeout=5)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        code, said, _ = await _end(process)
    assert (code, sorted(said)) == (0, ["background ended", "closed"])


async def test_a_port_in_use_ends_the_process_with_one_line(address: str) -> None:
    """Exit code 2 and one line for a person, no traceback; the process that has the port goes on."""
    async with _child(address) as first:
        await wait_until_serving(address, NAME, _SECONDS)
        async with _child(address) as second:
            code, _, complained = await _end(second)
        assert first.returncode is None
    assert code == 2
    assert complained == [f"child: cannot listen on {address}: is the port in use?"]


async def test_a_failed_background_task_ends_the_process(address: str) -> None:
    """It does not go on serving half alive: what is open is closed, the exit code is not 0, the cause is told."""
    async with _child(address, "fail") as process:
        code, said, complained = await _end(process)
    assert code == 1
    assert sorted(said) == ["background ended", "closed"]
    assert any("the background failed" in line for line in complained)

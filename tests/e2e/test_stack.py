"""The local stack as `make up` starts it: reflection, restart after a crash, a port in use."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.type.v1 import price_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cli.rebuild import reconcile
from deploy.demo.people import sign_in
from deploy.devnet.driver import DevnetClient
from deploy.local.layout import SERVICES, Layout, Ports
from deploy.local.processes import StackError, check_port_free
from deploy.local.stack import PROCESSES, Stack
from deploy.wallet.driver import Wallet
from tests.bench.background import running

_BLOCKS = 3
_FOLLOW_SECONDS = 30


@pytest.fixture(scope="module")
async def stack(open_folder: Path) -> AsyncIterator[Stack]:
    """A running stack with a clock that stands still."""
    stack = Stack(Layout(open_folder / "stack", Ports.free(), "2020-03-12T00:00:00Z", 0.0), lambda _: None)
    try:
        await stack.start()
        yield stack
    finally:
        stack.stop()


async def _published(stack: Stack) -> price_pb2.PriceRound:
    async with grpc.aio.insecure_channel(stack.layout.address("chain_gateway")) as channel:
        stub = gateway_grpc.ChainGatewayServiceStub(channel)
        request = gateway_pb2.GetPublishedPriceRequest(feed=price_pb2.FEED_BTC_USD)
        try:
            return (await stub.GetPublishedPrice(request, wait_for_ready=True)).round
        except grpc.aio.AioRpcError:
            return price_pb2.PriceRound()


async def _published_after(stack: Stack, burn_height: int) -> price_pb2.PriceRound:
    async with asyncio.timeout(_FOLLOW_SECONDS):
        while (round_ := await _published(stack)).burn_height < burn_height:
            await asyncio.sleep(0.1)
    return round_


async def _mine(stack: Stack) -> int:
    async with DevnetClient(stack.layout.node_url) as devnet:
        return (await devnet.mine_burn_blocks(_BLOCKS)).burn_height


async def test_reflection_lists_every_service(stack: Stack) -> None:
    """Each process describes its own service to any client."""

    def listed(address: str) -> list[str]:
        with grpc.insecure_channel(address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    for name in SERVICES:
        services = await asyncio.to_thread(listed, stack.layout.address(name))
        assert any(service.startswith(f"bithedge.{name}.v1.") for service in services)


async def _mine_on(stack: Stack) -> None:
    """A block as soon as the gateway has the one before it, without end."""
    node = stack.layout.node_url
    async with DevnetClient(node) as devnet, Wallet(node) as wallet:
        operator = await sign_in("operator", stack.keys.seed("operator"), wallet, stack.layout)
        async for _ in operator.services.gateway.WatchTip(gateway_pb2.WatchTipRequest()):
            await devnet.mine_block()


async def test_a_reconciliation_runs_while_block_after_block_is_mined(stack: Stack) -> None:
    """It reads at one block through gateway, pool, policy service and workflow, and finds that all books agree."""
    async with running(_mine_on(stack)):
        assert await reconcile(stack) == []


async def test_everything_killed_continues_where_it_was(stack: Stack) -> None:
    """SIGKILL to every process; after a start prices are published again, from the rounds that were there."""
    before = await _published_after(stack, await _mine(stack) - 1)
    for name in PROCESSES:
        process = stack.processes.running(name)
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
    await stack.start()
    assert await _published(stack) == before
    after = await _published_after(stack, await _mine(stack) - 1)
    assert after.round > before.round
    async with grpc.aio.insecure_channel(stack.layout.address("oracle")) as channel:
        request = oracle_pb2.GetRoundRequest(feed=price_pb2.FEED_BTC_USD, round=before.round)
        kept = await oracle_grpc.OracleServiceStub(channel).GetRound(request)
    assert kept.signed_round.price_usd_e8 == before.price_usd_e8


async def test_starting_twice_starts_nothing_twice(stack: Stack) -> None:
    """A second start leaves every running process alone."""
    pids = [process.pid for name in PROCESSES if (process := stack.processes.running(name)) is not None]
    await stack.start()
    again = [process.pid for name in PROCESSES if (process := stack.processes.running(name)) is not None]
    assert pids == again
    assert len(pids) == len(PROCESSES)


def test_a_port_in_use_is_one_clear_line() -> None:
    """The line names the port and who needs it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StackError, match=f"^port {port}, which pool needs, is in use[^\n]*$"):
            check_port_free(port, "pool")

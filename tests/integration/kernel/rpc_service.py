"""A service to try the kernel's server with: a stand-in gateway, real tokens, a real socket."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc
from cryptography.hazmat.primitives.asymmetric import ec

from kernel.clock import wall_now
from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from services.identity.keys import KeySet

NAME = "bithedge.chain_gateway.v1.ChainGatewayService"
KEYS = KeySet(ec.generate_private_key(ec.SECP256R1()))


def no_tip() -> pb.Tip:
    """A tip with a height only."""
    return pb.Tip(stacks_height=1)


@dataclass
class Gateway(pb_grpc.ChainGatewayServiceServicer):
    """Answers as the test sets it: a function for GetTip, a stream for WatchTip."""

    tip: Callable[[], pb.Tip] = no_tip
    tips: Callable[[], AsyncIterator[pb.Tip]] | None = None
    requests: list[pb.GetTipRequest] = field(default_factory=list)

    async def GetTip(self, request: pb.GetTipRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.GetTipResponse:
        """The test's tip, or its error."""
        self.requests.append(request)
        return pb.GetTipResponse(tip=self.tip())

    async def WatchTip(
        self, request: pb.WatchTipRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchTipResponse]:
        """The test's tips."""
        assert self.tips is not None
        async for tip in self.tips():
            yield pb.WatchTipResponse(tip=tip)


@dataclass(frozen=True)
class Running:
    """The service, and how to reach it."""

    address: str
    channel: grpc.aio.Channel
    stub: pb_grpc.ChainGatewayServiceAsyncStub
    stop: Callable[[], Awaitable[None]]


def gateway_service(gateway: Gateway) -> Service:
    """The stand-in as a service of a process."""
    return Service(
        pb.DESCRIPTOR.services_by_name["ChainGatewayService"],
        lambda server: pb_grpc.add_ChainGatewayServiceServicer_to_server(gateway, server),
    )


@asynccontextmanager
async def running(gateway: Gateway, listen: str = "127.0.0.1:0") -> AsyncIterator[Running]:
    """The stand-in behind the kernel's server."""
    server, port, _ = await start_server(Process(listen, 0, (gateway_service(gateway),), KEYS))

    async def stop() -> None:
        await server.stop(0)

    address = f"127.0.0.1:{port}"
    async with open_channel(address) as channel:
        yield Running(address, channel, pb_grpc.ChainGatewayServiceStub(channel), stop)
    await stop()


def token(*roles: Role, keys: KeySet = KEYS, minutes: float = 10) -> tuple[tuple[str, str], ...]:
    """Call metadata of principal ST1; `minutes` may lie in the past."""
    end = wall_now() + dt.timedelta(minutes=minutes)
    text = keys.issue("ST1", [role.name for role in roles], "", end - dt.timedelta(minutes=20), end)
    return (("authorization", f"Bearer {text}"),)

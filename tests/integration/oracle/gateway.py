"""A stand-in of the chain gateway that speaks its protocol: a tip, market time and burn blocks that a test moves."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as grpc_api
from bithedge.type.v1 import price_pb2

from kernel.errors import NotFound
from kernel.rpc.interceptors import Context
from kernel.rpc.server import Process, Service, start_server
from kernel.rpc.tokens import TokenVerifier
from tests.tokens import TestTokens

GENESIS_HEIGHT: Final = 1000
GENESIS_TIME: Final = dt.datetime(2020, 3, 1, tzinfo=dt.UTC)
_BLOCK: Final = dt.timedelta(minutes=10)


# The generated base has every method, unimplemented; for the type checker they would all be abstract.
if TYPE_CHECKING:

    class _Servicer:
        """Nothing."""

else:
    _Servicer = grpc_api.ChainGatewayServiceServicer


class GatewayStandIn(_Servicer):
    """Burn block h has the time GENESIS_TIME + 10 minutes x (h - GENESIS_HEIGHT), and stands once it is due."""

    def __init__(self, market_time: dt.datetime) -> None:
        self.market_time = market_time
        self.events: list[event_pb2.ChainEvent] = []
        self.published: dict[int, price_pb2.PriceRound] = {}
        self._moved = asyncio.Condition()

    @property
    def burn_height(self) -> int:
        """The height of the tip."""
        return GENESIS_HEIGHT + (self.market_time - GENESIS_TIME) // _BLOCK

    @staticmethod
    def time_of(burn_height: int) -> dt.datetime:
        """When a burn block is due."""
        return GENESIS_TIME + (burn_height - GENESIS_HEIGHT) * _BLOCK

    async def move_to(self, market_time: dt.datetime) -> None:
        """Moves market time, with the burn blocks that it passes."""
        async with self._moved:
            self.market_time = market_time
            self._moved.notify_all()

    async def advance(self, seconds: float) -> None:
        """Moves market time on."""
        await self.move_to(self.market_time + dt.timedelta(seconds=seconds))

    def _tip(self) -> pb.Tip:
        tip = pb.Tip(stacks_height=self.burn_height * 2, burn_height=self.burn_height, network="testnet")
        tip.market_time.FromDatetime(self.market_time)
        tip.refresh_time.GetCurrentTime()
        tip.burn_block_time.FromDatetime(self.time_of(self.burn_height))
        return tip

    async def GetTip(self, request: pb.GetTipRequest, context: Context) -> pb.GetTipResponse:
        """The tip."""
        return pb.GetTipResponse(tip=self._tip())

    async def WatchTip(self, request: pb.WatchTipRequest, context: Context) -> AsyncIterator[pb.WatchTipResponse]:
        """The tip, then each move."""
        seen = None
        while True:
            async with self._moved:
                while self.market_time == seen:
                    await self._moved.wait()
                seen = self.market_time
            yield pb.WatchTipResponse(tip=self._tip())

    async def GetPublishedPrice(
        self, request: pb.GetPublishedPriceRequest, context: Context
    ) -> pb.GetPublishedPriceResponse:
        """What a test has put on chain."""
        if request.feed not in self.published:
            raise NotFound("NOTHING_PUBLISHED", "nothing is on chain")
        return pb.GetPublishedPriceResponse(round=self.published[request.feed])

    async def emit(self, event: event_pb2.ChainEvent) -> None:
        """Prints an event in a block of now."""
        event.sequence, event.burn_height = len(self.events) + 1, self.burn_height
        event.block_time.FromDatetime(self.market_time)
        async with self._moved:
            self.events.append(event)
            self._moved.notify_all()

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Events after the cursor, which is a sequence number."""
        delivered = int(request.cursor or 0)
        while True:
            async with self._moved:
                while len(self.events) == delivered:
                    await self._moved.wait()
                events = self.events[delivered:]
            delivered += len(events)
            yield pb.WatchEventsResponse(
                events=events, cursor=str(delivered), delivered_burn_height=self.burn_height, tip=self._tip()
            )

    async def GetBurnBlock(self, request: pb.GetBurnBlockRequest, context: Context) -> pb.GetBurnBlockResponse:
        """A block that stands already."""
        height = request.burn_height
        if request.WhichOneof("by") == "at_or_before_time":
            time = request.at_or_before_time.ToDatetime(dt.UTC)
            height = min(self.burn_height, GENESIS_HEIGHT + (time - GENESIS_TIME) // _BLOCK)
        if not GENESIS_HEIGHT <= height <= self.burn_height:
            raise NotFound("BURN_BLOCK_NOT_FOUND", f"no burn block {height}")
        answer = pb.GetBurnBlockResponse(burn_height=height, burn_block_hash=f"{height:064x}")
        answer.burn_block_time.FromDatetime(self.time_of(height))
        return answer


async def serve_gateway(
    gateway: GatewayStandIn, listen: str = "127.0.0.1:0", verifier: TokenVerifier | None = None
) -> tuple[grpc.aio.Server, str]:
    """Serves the stand-in to callers with tokens of `TestTokens`, or of the verifier; the server and its address."""
    servicer: Any = gateway
    service = Service(
        pb.DESCRIPTOR.services_by_name["ChainGatewayService"],
        lambda server: grpc_api.add_ChainGatewayServiceServicer_to_server(servicer, server),
    )
    server, port, _ = await start_server(Process(listen, 0, [service], verifier or TestTokens()))
    return server, f"127.0.0.1:{port}"

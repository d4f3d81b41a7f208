"""Burn blocks as the gateway knows them: which one stood at a market time, and when one was mined."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc

from kernel.errors import NotFound, Unavailable
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower

_MOST_BLOCKS: Final = 200


@dataclass(frozen=True)
class BurnBlock:
    """A burn block's height and time."""

    height: int
    time: dt.datetime


class BurnBlocks:
    """Reads burn blocks through the gateway."""

    def __init__(self, gateway: grpc.aio.Channel, tip: TipFollower) -> None:
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._tip = tip

    async def at_height(self, height: int) -> BurnBlock:
        """The block at a height; Unavailable while the gateway does not know it."""
        return await self._ask(gateway_pb2.GetBurnBlockRequest(burn_height=height), f"height {height}")

    async def at_or_before(self, time: dt.datetime) -> BurnBlock:
        """The last block at or before a market time; Unavailable while the gateway knows none."""
        request = gateway_pb2.GetBurnBlockRequest()
        request.at_or_before_time.FromDatetime(time)
        return await self._ask(request, f"time {time.isoformat()}")

    async def heights_at(self, times: Sequence[dt.datetime]) -> Mapping[dt.datetime, int]:
        """For each market time the height of the last burn block at or before it.

        One question per burn block in the span, not one per time; none while all times lie after the tip's block.
        """
        newest_first = sorted(times, reverse=True)
        tip = BurnBlock(self._tip.tip.burn_height, self._tip.tip.burn_block_time.ToDatetime(dt.UTC))
        block = tip if tip.time <= newest_first[0] else await self.at_or_before(newest_first[0])
        heights: dict[dt.datetime, int] = {}
        for time in newest_first:
            block = await self._walk_back(block, time)
            heights[time] = block.height
        return heights

    async def _walk_back(self, block: BurnBlock, time: dt.datetime) -> BurnBlock:
        for _ in range(_MOST_BLOCKS):
            if block.time <= time:
                return block
            block = await self.at_height(block.height - 1)
        raise Unavailable("BURN_BLOCK_UNKNOWN", f"no burn block found at or before {time.isoformat()}")

    async def _ask(self, request: gateway_pb2.GetBurnBlockRequest, what: str) -> BurnBlock:
        try:
            with remote_errors():
                answer = await self._stub.GetBurnBlock(request)
        except NotFound as error:
            raise Unavailable("BURN_BLOCK_UNKNOWN", f"no burn block at {what} yet") from error
        return BurnBlock(answer.burn_height, answer.burn_block_time.ToDatetime(dt.UTC))

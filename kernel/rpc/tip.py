"""The chain's tip as other services know it, followed over the gateway's stream; carries market time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc

from kernel.errors import Unavailable
from kernel.log import get_logger

_RETRY_SECONDS: Final = 0.5


class TipFollower:
    """Keeps the latest tip; its `now` is market time. Run `follow` in the background."""

    def __init__(self, gateway: grpc.aio.Channel) -> None:
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._tip: gateway_pb2.Tip | None = None
        self._now: dt.datetime | None = None
        self._lost_at: float | None = time.monotonic()
        self._changed = asyncio.Condition()

    @property
    def tip(self) -> gateway_pb2.Tip:
        """The latest tip; Unavailable before the first."""
        if self._tip is None:
            raise Unavailable("TIP_UNKNOWN", "the tip of the chain is not known yet")
        return self._tip

    def now(self) -> dt.datetime:
        """Market time, UTC."""
        if self._now is None:
            self._now = self.tip.market_time.ToDatetime(dt.UTC)
        return self._now

    @property
    def lost_seconds(self) -> float:
        """Wall seconds since the gateway was last heard; 0 while the stream stands. Then market time is old."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    async def changed(self, timeout_seconds: float) -> None:
        """Returns at the next change of the tip, or after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait()
        except TimeoutError:
            return

    async def follow(self) -> None:
        """Follows the gateway until cancelled; a lost stream is opened again."""
        while True:
            try:
                async for answer in self._stub.WatchTip(gateway_pb2.WatchTipRequest(), wait_for_ready=True):
                    async with self._changed:
                        self._tip, self._now, self._lost_at = answer.tip, None, None
                        self._changed.notify_all()
            except (grpc.aio.AioRpcError, Unavailable) as error:
                get_logger().warning("tip stream lost", error=str(error)[:200])
            self._lost_at = time.monotonic() if self._lost_at is None else self._lost_at
            await asyncio.sleep(_RETRY_SECONDS)

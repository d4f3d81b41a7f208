"""Small servicers that speak the protocols of the services that the policy service calls."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from bithedge.type.v1 import price_pb2

from kernel.clock import wall_now
from kernel.errors import Unavailable

# The generated bases have every method, unimplemented; for the type checker they would all be abstract.
if TYPE_CHECKING:

    class _Oracle:
        pass

    class _Pool:
        pass

    class _Gateway:
        pass
else:
    _Oracle = oracle_grpc.OracleServiceServicer
    _Pool = pool_grpc.PoolServiceServicer
    _Gateway = gateway_grpc.ChainGatewayServiceServicer

USD: Final = 10**8
SPOT: Final = 100_000 * USD
STX_PRICE: Final = 2 * USD
AVAILABLE: Final = 10**13
PARAMETERS: Final = {
    "creation.max-price-move-bps": 300,
    "creation.margin-bps": 500,
    "creation.min-rate-bps": 10,
    "issuance.max-per-policy-stx": 10_000_000_000_000,
    "issuance.max-per-policy-sbtc": 5_000_000_000,
    "policy.fee-bps": 50,
    "quote.valid-blocks": 6,
    "conservative.strike-min-bps": 4700,
    "conservative.strike-max-bps": 9300,
    "conservative.floor-min-bps": 8000,
    "conservative.floor-max-bps": 9800,
    "conservative.duration-min-blocks": 18,
    "conservative.duration-max-blocks": 1008,
    "conservative.stx-haircut-bps": 2000,
    "conservative.loading-bps": 1000,
    "balanced.strike-min-bps": 4700,
    "balanced.strike-max-bps": 10300,
    "balanced.floor-min-bps": 6000,
    "balanced.floor-max-bps": 9800,
    "balanced.duration-min-blocks": 18,
    "balanced.duration-max-blocks": 4320,
    "balanced.stx-haircut-bps": 3000,
    "balanced.loading-bps": 1500,
    "aggressive.strike-min-bps": 4700,
    "aggressive.strike-max-bps": 11300,
    "aggressive.floor-min-bps": 4000,
    "aggressive.floor-max-bps": 9800,
    "aggressive.duration-min-blocks": 18,
    "aggressive.duration-max-blocks": 12960,
    "aggressive.stx-haircut-bps": 4000,
    "aggressive.loading-bps": 2500,
}
Context = grpc.aio.ServicerContext[Any, Any]


class OracleStandIn(_Oracle):
    """Prices as a test sets them; observed now unless it says otherwise."""

    def __init__(self) -> None:
        self.prices = {price_pb2.FEED_BTC_USD: SPOT, price_pb2.FEED_STX_USD: STX_PRICE}
        self.status = oracle_pb2.PRICE_STATUS_OK
        self.age_seconds = 0
        self.volatility = 0.5
        self.is_down = False

    def set_btc(self, price_usd_e8: int) -> None:
        """Moves the BTC price."""
        self.prices[price_pb2.FEED_BTC_USD] = price_usd_e8

    async def GetPrice(self, request: oracle_pb2.GetPriceRequest, context: Context) -> oracle_pb2.GetPriceResponse:
        """The price that was set."""
        if self.is_down:
            raise Unavailable("DOWN", "the oracle is down")
        price = oracle_pb2.Price(feed=request.feed, round=7, status=self.status, price_usd_e8=self.prices[request.feed])
        price.observe_time.FromDatetime(wall_now() - dt.timedelta(seconds=self.age_seconds))
        return oracle_pb2.GetPriceResponse(price=price)

    async def GetVolatility(
        self, request: oracle_pb2.GetVolatilityRequest, context: Context
    ) -> oracle_pb2.GetVolatilityResponse:
        """The volatility that was set."""
        value = self.volatility
        return oracle_pb2.GetVolatilityResponse(
            ewma=value, close_to_close_30d=value, close_to_close_90d=value, parkinson_30d=value, source="test"
        )


class PoolStandIn(_Pool):
    """A pool with room, unless a test closes its tiers."""

    closed = False

    async def GetTierAvailability(
        self, request: pool_pb2.GetTierAvailabilityRequest, context: Context
    ) -> pool_pb2.GetTierAvailabilityResponse:
        """The same of every tier."""
        left = 0 if self.closed else AVAILABLE
        capital = pool_pb2.TierCapital(
            tier=request.tier, token=request.token, available_base_units=left, closed=self.closed
        )
        return pool_pb2.GetTierAvailabilityResponse(capital=capital)


class GatewayStandIn(_Gateway):
    """A chain that a test moves: its tip, and answers of the two streams of events."""

    def __init__(self) -> None:
        self.parameters = dict(PARAMETERS)
        self.paused: list[str] = []
        self.burn_block_heights: dict[int, int] = {}
        self.tip = gateway_pb2.Tip(stacks_height=1, block_hash="01", burn_height=1000, network="testnet")
        self.signed_quotes: list[gateway_pb2.SignedQuote] = []
        self._answers: dict[int, list[gateway_pb2.WatchEventsResponse]] = {
            gateway_pb2.EVENT_FINALITY_TIP: [],
            gateway_pb2.EVENT_FINALITY_FINAL: [],
        }
        self._changed = asyncio.Condition()
        self._stamp(wall_now())

    def _stamp(self, refresh_time: dt.datetime) -> None:
        self.tip.market_time.FromDatetime(wall_now())
        self.tip.refresh_time.FromDatetime(refresh_time)

    async def set_tip(self, burn_height: int, refresh_time: dt.datetime | None = None) -> None:
        """Moves the tip; `refresh_time` in the past makes it stale."""
        async with self._changed:
            self.tip.burn_height = burn_height
            self.tip.stacks_height += 1
            self.tip.block_hash = f"{self.tip.stacks_height:02x}"
            self._stamp(refresh_time or wall_now())
            self._changed.notify_all()

    async def deliver(self, finality: int, *events: chain_event_pb2.ChainEvent, height: int | None = None) -> None:
        """Adds an answer to a stream: these events, all up to `height` (the tip) delivered."""
        async with self._changed:
            answers = self._answers[finality]
            answers.append(
                gateway_pb2.WatchEventsResponse(
                    events=events,
                    cursor=str(len(answers) + 1),
                    delivered_burn_height=self.tip.burn_height if height is None else height,
                    tip=self.tip,
                )
            )
            self._changed.notify_all()

    def delivered(self, finality: int) -> int:
        """The cursor of a stream's last answer."""
        return len(self._answers[finality])

    def overlook(self, *events: chain_event_pb2.ChainEvent) -> None:
        """Puts final events into the last answer, where those who have read it never see them."""
        self._answers[gateway_pb2.EVENT_FINALITY_FINAL][-1].events.extend(events)

    async def ListSignedQuotes(
        self, request: gateway_pb2.ListSignedQuotesRequest, context: Context
    ) -> gateway_pb2.ListSignedQuotesResponse:
        """One quote a page."""
        place = int(request.page_token or 0)
        more = str(place + 1) if place + 1 < len(self.signed_quotes) else ""
        return gateway_pb2.ListSignedQuotesResponse(
            signed_quotes=self.signed_quotes[place : place + 1], next_page_token=more
        )

    async def GetTip(self, request: gateway_pb2.GetTipRequest, context: Context) -> gateway_pb2.GetTipResponse:
        """The tip that was set."""
        return gateway_pb2.GetTipResponse(tip=self.tip)

    async def WatchTip(
        self, request: gateway_pb2.WatchTipRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.WatchTipResponse]:
        """The tip, then its changes."""
        while True:
            async with self._changed:
                yield gateway_pb2.WatchTipResponse(tip=self.tip)
                await self._changed.wait()

    async def ListParameters(
        self, request: gateway_pb2.ListParametersRequest, context: Context
    ) -> gateway_pb2.ListParametersResponse:
        """The parameters that were set."""
        parameters = [gateway_pb2.Parameter(name=name, value=value) for name, value in self.parameters.items()]
        return gateway_pb2.ListParametersResponse(parameters=parameters, paused=self.paused)

    async def GetPublishedPrice(
        self, request: gateway_pb2.GetPublishedPriceRequest, context: Context
    ) -> gateway_pb2.GetPublishedPriceResponse:
        """The spot of the stand-in oracle."""
        price = SPOT if request.feed == price_pb2.FEED_BTC_USD else STX_PRICE
        return gateway_pb2.GetPublishedPriceResponse(
            round=price_pb2.PriceRound(feed=request.feed, round=6, price_usd_e8=price)
        )

    async def GetBurnBlock(
        self, request: gateway_pb2.GetBurnBlockRequest, context: Context
    ) -> gateway_pb2.GetBurnBlockResponse:
        """The last block at or before a time, of those that were set (unix seconds to height); else the tip."""
        seconds = request.at_or_before_time.seconds
        heights = [height for time, height in sorted(self.burn_block_heights.items()) if time <= seconds]
        return gateway_pb2.GetBurnBlockResponse(burn_height=heights[-1] if heights else self.tip.burn_height)

    async def WatchEvents(
        self, request: gateway_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.WatchEventsResponse]:
        """Every answer after the cursor, then new ones. Whoever begins anew is told how far they reach by the last."""
        answers, position = self._answers[request.finality], int(request.cursor or "0")
        while True:
            async with self._changed:
                while len(answers) <= position:
                    await self._changed.wait()
            yield _amid(answers[position]) if not request.cursor and position + 1 < len(answers) else answers[position]
            position += 1


def _amid(answer: gateway_pb2.WatchEventsResponse) -> gateway_pb2.WatchEventsResponse:
    """An answer that more follow at once."""
    amid = gateway_pb2.WatchEventsResponse()
    amid.CopyFrom(answer)
    amid.delivered_burn_height = 0
    return amid

"""What the policy service reads from the other services: prices, volatility, parameters, capacity, burn blocks."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from bithedge.type.v1 import price_pb2

from kernel.clock import wall_now
from kernel.errors import BitHedgeError, FailedPrecondition, NotFound, Unavailable
from kernel.log import get_logger
from kernel.pricing import PastVolatility, PricingError
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token
from services.policy.domain.activation import KnownTip, market_time_at
from services.policy.domain.errors import Reason
from services.policy.domain.parameters import Parameters
from services.policy.domain.quote import MAX_PRICE_AGE_SECONDS, Market, Room

# A request to activate must not wait for the oracle: the rounds seen are for the record alone.
_ROUNDS_SEEN_SECONDS: Final = 1.0
_FEEDS: Final = (price_pb2.FEED_BTC_USD, price_pb2.FEED_STX_USD)


def known_tip(tip: gateway_pb2.Tip) -> KnownTip:
    """The part of a tip by which requests are judged."""
    return KnownTip(tip.burn_height, tip.market_time.ToDatetime(dt.UTC), tip.refresh_time.ToDatetime(dt.UTC))


def past_volatility(answer: oracle_pb2.GetVolatilityResponse) -> PastVolatility:
    """The oracle's estimates; PricingError unless they are a `PastVolatility`."""
    return PastVolatility(answer.ewma, answer.close_to_close_30d, answer.close_to_close_90d, answer.parkinson_30d)


class Sources:
    """Reads of other services; each raises the domain error that the other service answered."""

    def __init__(
        self, oracle: grpc.aio.Channel, pool: grpc.aio.Channel, gateway: grpc.aio.Channel, tips: TipFollower
    ) -> None:
        self.tips = tips
        self._oracle = oracle_grpc.OracleServiceStub(oracle)
        self._pool = pool_grpc.PoolServiceStub(pool)
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._parameters: tuple[str, Parameters] | None = None
        self._lock = asyncio.Lock()

    def tip_or_none(self) -> KnownTip | None:
        """The tip, or None before the first."""
        try:
            return known_tip(self.tips.tip)
        except Unavailable:
            return None

    def burn_height(self) -> int:
        """The tip's burn height, zero before the first tip."""
        tip = self.tip_or_none()
        return 0 if tip is None else tip.burn_height

    async def parameters(self) -> Parameters:
        """The on-chain parameters, read once per tip."""
        key = self.tips.tip.block_hash
        async with self._lock:
            if self._parameters is None or self._parameters[0] != key or not key:
                with remote_errors():
                    answer = await self._gateway.ListParameters(gateway_pb2.ListParametersRequest())
                values = {parameter.name: parameter.value for parameter in answer.parameters}
                self._parameters = (key, Parameters(values, frozenset(answer.paused)))
            return self._parameters[1]

    async def market(self) -> Market:
        """Prices of both feeds, volatility and published prices; FailedPrecondition unless all can be trusted."""
        btc, stx, volatility, published_btc, published_stx = await asyncio.gather(
            self._price(price_pb2.FEED_BTC_USD),
            self._price(price_pb2.FEED_STX_USD),
            self._volatility(),
            self._published(price_pb2.FEED_BTC_USD),
            self._published(price_pb2.FEED_STX_USD),
        )
        return Market(
            btc_price_usd_e8=btc.price_usd_e8,
            stx_price_usd_e8=stx.price_usd_e8,
            btc_round=btc.round,
            stx_round=stx.round,
            past_volatility=volatility,
            published_btc_price_usd_e8=published_btc or btc.price_usd_e8,
            published_stx_price_usd_e8=published_stx or stx.price_usd_e8,
        )

    async def prices(self) -> tuple[oracle_pb2.Price, oracle_pb2.Price]:
        """BTC and STX; FailedPrecondition PRICE_NOT_OK unless both are OK and fresh."""
        btc, stx = await asyncio.gather(*(self._price(feed) for feed in _FEEDS))
        return btc, stx

    async def rounds_seen(self) -> tuple[int, int]:
        """The latest rounds of both feeds, zero where the oracle does not answer at once."""
        try:
            async with asyncio.timeout(_ROUNDS_SEEN_SECONDS):
                with remote_errors():
                    btc, stx = await asyncio.gather(*(self._latest(feed) for feed in _FEEDS))
        except (BitHedgeError, TimeoutError) as error:
            get_logger().info("rounds not seen", error=str(error)[:200])
            return 0, 0
        return btc.round, stx.round

    async def room(self, tier: Tier, token: Token) -> Room | None:
        """What the pool can still write; None while it does not answer."""
        request = pool_pb2.GetTierAvailabilityRequest(tier=int(tier), token=int(token))  # type: ignore[arg-type]
        try:
            with remote_errors():
                answer = await self._pool.GetTierAvailability(request, timeout=_ROUNDS_SEEN_SECONDS)
        except BitHedgeError as error:
            get_logger().info("availability unknown", error=str(error)[:200])
            return None
        capital = answer.capital
        committed = capital.locked_base_units + capital.reserved_base_units
        return Room(capital.available_base_units, capital.closed, committed)

    async def burn_height_at(self, time: dt.datetime) -> int:
        """Height of the last burn block at or before a market time."""
        request = gateway_pb2.GetBurnBlockRequest()
        request.at_or_before_time.FromDatetime(time)
        with remote_errors():
            return (await self._gateway.GetBurnBlock(request)).burn_height

    async def _latest(self, feed: price_pb2.Feed.ValueType) -> oracle_pb2.Price:
        return (await self._oracle.GetPrice(oracle_pb2.GetPriceRequest(feed=feed))).price

    async def _price(self, feed: price_pb2.Feed.ValueType) -> oracle_pb2.Price:
        with remote_errors():
            price = await self._latest(feed)
        now = market_time_at(wall_now(), known_tip(self.tips.tip))
        age = now - price.observe_time.ToDatetime(dt.UTC)
        is_ok = price.status == oracle_pb2.PRICE_STATUS_OK and price.price_usd_e8 > 0
        if not is_ok or age.total_seconds() > MAX_PRICE_AGE_SECONDS:
            name = price_pb2.Feed.Name(feed).removeprefix("FEED_")
            status = oracle_pb2.PriceStatus.Name(price.status).removeprefix("PRICE_STATUS_")
            raise FailedPrecondition(
                Reason.PRICE_NOT_OK,
                f"the price of {name} is {status} and {age.total_seconds():.0f} s old: {price.reason or 'stale'}",
                feed=name,
                status=status,
            )
        return price

    async def _volatility(self) -> PastVolatility:
        with remote_errors():
            answer = await self._oracle.GetVolatility(oracle_pb2.GetVolatilityRequest(feed=price_pb2.FEED_BTC_USD))
        try:
            return past_volatility(answer)
        except PricingError as error:
            raise FailedPrecondition(Reason.PRICE_NOT_OK, f"there is no volatility to quote on: {error}") from error

    async def _published(self, feed: price_pb2.Feed.ValueType) -> int:
        """The latest published price; zero while none was ever published."""
        try:
            with remote_errors():
                answer = await self._gateway.GetPublishedPrice(gateway_pb2.GetPublishedPriceRequest(feed=feed))
        except NotFound:
            return 0
        return answer.round.price_usd_e8

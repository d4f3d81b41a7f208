"""What the pool reads of others: prices of the oracle, parameters and tip of the gateway."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.type.v1 import price_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import Unavailable
from kernel.pricing import PastVolatility, PricingError
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token
from services.pool.domain.collateral import TierParameters
from services.pool.domain.shares import Prices

_DEADLINE_SECONDS: Final = 5.0
NO_PRICE_YET: Final = "NO_PRICE_YET"


@dataclass(frozen=True)
class ObservedPrices:
    """Good prices and the market time of the newest observation in them."""

    prices: Prices
    observe_time: dt.datetime


class OraclePrices:
    """The oracle's good prices: the latest ones to show, the first ones after a moment to decide with."""

    def __init__(self, oracle: grpc.aio.Channel) -> None:
        self._stub = oracle_grpc.OracleServiceStub(oracle)

    async def latest(self, token: Token) -> Prices:
        """BTC/USD, and STX/USD where `token` is STX. Unavailable unless the oracle says OK of each."""
        volatility, found = await asyncio.gather(self._volatility(), self._of_feeds(token, self._read))
        return _observed(found, volatility).prices

    async def first_after(self, token: Token, time: dt.datetime) -> ObservedPrices:
        """As `latest`, of each feed the first OK round all of whose observations are later than `time`.

        The same for whoever asks whenever, with the volatility of that round's day. Unavailable until they are there.
        """
        found = await self._of_feeds(token, lambda feed: self._first(feed, time))
        return _observed(found, await self._volatility(found[0].observe_time))

    async def _of_feeds(
        self, token: Token, read: Callable[[price_pb2.Feed.ValueType], Awaitable[oracle_pb2.Price]]
    ) -> Sequence[oracle_pb2.Price]:
        feeds = [price_pb2.FEED_BTC_USD] + [price_pb2.FEED_STX_USD] * (token is Token.STX)
        return await asyncio.gather(*map(read, feeds))

    async def _first(self, feed: price_pb2.Feed.ValueType, time: dt.datetime) -> oracle_pb2.Price:
        request = oracle_pb2.GetRoundAfterRequest(feed=feed)
        request.time.FromDatetime(time)
        try:
            with remote_errors():
                return (await self._stub.GetRoundAfter(request, timeout=_DEADLINE_SECONDS)).price
        except Unavailable as error:
            if error.reason != "NO_ROUND_YET":
                raise
            raise Unavailable(NO_PRICE_YET, "no price was observed since the moment that decides") from error

    async def _volatility(self, time: Timestamp | None = None) -> PastVolatility | None:
        request = oracle_pb2.GetVolatilityRequest(feed=price_pb2.FEED_BTC_USD, time=time)
        with remote_errors():
            answer = await self._stub.GetVolatility(request, timeout=_DEADLINE_SECONDS)
        try:
            return PastVolatility(
                answer.ewma, answer.close_to_close_30d, answer.close_to_close_90d, answer.parkinson_30d
            )
        except PricingError:
            return None

    async def _read(self, feed: price_pb2.Feed.ValueType) -> oracle_pb2.Price:
        with remote_errors():
            answer = await self._stub.GetPrice(oracle_pb2.GetPriceRequest(feed=feed), timeout=_DEADLINE_SECONDS)
        price = answer.price
        if price.status != oracle_pb2.PRICE_STATUS_OK or price.price_usd_e8 <= 0:
            status = oracle_pb2.PriceStatus.Name(price.status)
            raise Unavailable("PRICE_UNAVAILABLE", f"{price_pb2.Feed.Name(feed)} is {status}", status=status)
        return price


def _observed(found: Sequence[oracle_pb2.Price], volatility: PastVolatility | None) -> ObservedPrices:
    btc, stx = (*found, oracle_pb2.Price())[:2]
    observed = max(price.observe_time.ToDatetime(dt.UTC) for price in found)
    prices = Prices(btc.price_usd_e8, stx.price_usd_e8, btc.round, stx.round, volatility, burn_height=btc.burn_height)
    return ObservedPrices(prices, observed)


class ChainParameters:
    """On-chain parameters, read once per tip."""

    def __init__(self, gateway: grpc.aio.Channel, tip: TipFollower) -> None:
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._tip = tip
        self._block_hash = ""
        self._values: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def tier(self, tier: Tier) -> TierParameters:
        """Parameters of a tier at the tip. Unavailable while the gateway does not answer."""
        values = await self._read()
        prefix = tier.name.lower()
        try:
            return TierParameters(
                utilization_max_bps=values[f"{prefix}.utilization-max-bps"],
                stx_haircut_bps=values[f"{prefix}.stx-haircut-bps"],
            )
        except KeyError as error:
            raise Unavailable("PARAMETER_UNKNOWN", f"the chain has no parameter {error.args[0]}") from error

    async def _read(self) -> dict[str, int]:
        async with self._lock:
            block_hash = self._tip.tip.block_hash
            if block_hash != self._block_hash or not self._values:
                with remote_errors():
                    answer = await self._stub.ListParameters(
                        gateway_pb2.ListParametersRequest(), timeout=_DEADLINE_SECONDS
                    )
                self._values = {parameter.name: parameter.value for parameter in answer.parameters}
                self._block_hash = block_hash
            return self._values

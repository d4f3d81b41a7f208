"""The gateway and the oracle as the pool sees them: real gRPC servers whose chain and prices a test controls."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc
from bithedge.type.v1 import price_pb2

from kernel.errors import Unavailable
from kernel.rpc.interceptors import Context

# The generated bases have every method, unimplemented; for the type checker all would be abstract.
if TYPE_CHECKING:

    class _GatewayBase:
        pass

    class _OracleBase:
        pass
else:
    _GatewayBase = chain_gateway_service_pb2_grpc.ChainGatewayServiceServicer
    _OracleBase = oracle_service_pb2_grpc.OracleServiceServicer

GENESIS = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_BLOCK = dt.timedelta(minutes=10)
PARAMETERS = {
    f"{tier}.{name}": value
    for tier, utilization, haircut in (
        ("conservative", 8000, 2000),
        ("balanced", 8000, 3000),
        ("aggressive", 9000, 4000),
    )
    for name, value in (("utilization-max-bps", utilization), ("stx-haircut-bps", haircut))
}


class StandInGateway(_GatewayBase):
    """A chain of final events. Market time is the burn height's, plus `late` seconds."""

    def __init__(self) -> None:
        self.parameters = dict(PARAMETERS)
        self.burn_height = 100
        self.late = 0
        self.tells_the_tip = True
        self.signed_vouchers: list[pb.SignedVoucher] = []
        self.contracts: Callable[[], pb.GetContractSnapshotResponse] = pb.GetContractSnapshotResponse
        self._answers: list[pb.WatchEventsResponse] = []
        self._changed = asyncio.Condition()
        self._sequence = 0
        self._transactions = 0

    def now(self) -> dt.datetime:
        """Market time."""
        return GENESIS + self.burn_height * _BLOCK + dt.timedelta(seconds=self.late)

    def tip(self) -> pb.Tip:
        """The tip, one burn block above what is final."""
        tip = pb.Tip(
            stacks_height=self.burn_height, block_hash=f"{self.burn_height:064x}", burn_height=self.burn_height
        )
        tip.market_time.FromDatetime(self.now())
        tip.final_burn_height = self.burn_height - 1
        return tip

    def event(self, **payload: object) -> event_pb2.ChainEvent:
        """A new event of its own transaction at the present burn height."""
        self._sequence += 1
        self._transactions += 1
        event = event_pb2.ChainEvent(
            sequence=self._sequence,
            block_hash=f"{self.burn_height:064x}",
            burn_height=self.burn_height,
            txid=f"{self._transactions:064x}",
            event_index=1,
            **payload,  # type: ignore[arg-type]
        )
        event.block_time.FromDatetime(self.now())
        return event

    async def finalize(self, *events: event_pb2.ChainEvent, blocks: int = 1) -> int:
        """Mines burn blocks after the events and delivers them as final; the number of the answer."""
        async with self._changed:
            delivered = self.burn_height + blocks - 1
            self.burn_height += blocks
            answer = pb.WatchEventsResponse(
                events=events, cursor=str(len(self._answers) + 1), delivered_burn_height=delivered, tip=self.tip()
            )
            self._answers.append(answer)
            self._changed.notify_all()
            return len(self._answers)

    def overlook(self, *events: event_pb2.ChainEvent) -> None:
        """Puts events into the last answer, where those who have read it never see them."""
        self._answers[-1].events.extend(events)

    def standing_events(self) -> list[event_pb2.ChainEvent]:
        """Every final event that was not withdrawn."""
        last = {(event.txid, event.event_index): event for answer in self._answers for event in answer.events}
        return [event for event in last.values() if not event.withdrawn]

    async def pass_seconds(self, seconds: int) -> None:
        """Moves market time within the block."""
        async with self._changed:
            self.late += seconds
            self._changed.notify_all()

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Final answers after a cursor."""
        at = int(request.cursor or 0)
        while True:
            async with self._changed:
                while at >= len(self._answers):
                    await self._changed.wait()
            yield self._answers[at]
            at += 1

    async def GetContractSnapshot(
        self, request: pb.GetContractSnapshotRequest, context: Context
    ) -> pb.GetContractSnapshotResponse:
        """What a test says that the contracts say, in one page."""
        return self.contracts()

    async def ListSignedQuotes(
        self, request: pb.ListSignedQuotesRequest, context: Context
    ) -> pb.ListSignedQuotesResponse:
        """None: policies are created without."""
        return pb.ListSignedQuotesResponse()

    async def WatchTip(self, request: pb.WatchTipRequest, context: Context) -> AsyncIterator[pb.WatchTipResponse]:
        """The tip and its changes."""
        while True:
            if not self.tells_the_tip:
                raise Unavailable("DOWN", "the gateway is down")
            yield pb.WatchTipResponse(tip=self.tip())
            async with self._changed:
                await self._changed.wait()

    async def ListParameters(self, request: pb.ListParametersRequest, context: Context) -> pb.ListParametersResponse:
        """The parameters that the pool reads."""
        response = pb.ListParametersResponse(stacks_height=self.burn_height)
        for name, value in self.parameters.items():
            response.parameters.add(name=name, value=value)
        return response

    async def ListSignedVouchers(
        self, request: pb.ListSignedVouchersRequest, context: Context
    ) -> pb.ListSignedVouchersResponse:
        """One voucher a page."""
        place = int(request.page_token or 0)
        more = str(place + 1) if place + 1 < len(self.signed_vouchers) else ""
        return pb.ListSignedVouchersResponse(
            signed_vouchers=self.signed_vouchers[place : place + 1], next_page_token=more
        )


class StandInOracle(_OracleBase):
    """Prices that a test sets, observed now unless it says otherwise."""

    def __init__(self, gateway: StandInGateway) -> None:
        self._gateway = gateway
        self.btc_e8 = 100_000 * 10**8
        self.stx_e8 = 2 * 10**8
        self.status = oracle_pb2.PRICE_STATUS_OK
        self.observe_time: dt.datetime | None = None
        # Rounds of the past, of either feed; where there are none after a time, the prices of now are the next one.
        self.past: list[oracle_pb2.Price] = []
        self.reachable = True
        self.windows_complete = True
        self.volatility = 0.5
        # That of the past, with the last moment of each.
        self.past_volatility: list[tuple[dt.datetime, float]] = []
        self.receipts: list[price_pb2.SettlementReceipt] = []
        # BTC/USD and STX/USD by expiration height, zeros where a person decides; the prices of now where not named.
        self.averages: dict[int, tuple[int, int]] = {}

    def price(self, feed: price_pb2.Feed.ValueType) -> oracle_pb2.Price:
        """The round of now."""
        value = self.btc_e8 if feed == price_pb2.FEED_BTC_USD else self.stx_e8
        at, height = self._gateway.late, self._gateway.burn_height
        price = oracle_pb2.Price(feed=feed, round=at, status=self.status, price_usd_e8=value, burn_height=height)
        price.observe_time.FromDatetime(self.observe_time or self._gateway.now())
        return price

    def keep_rounds(self) -> None:
        """What is said now will have been said."""
        self.past += [self.price(feed) for feed in (price_pb2.FEED_BTC_USD, price_pb2.FEED_STX_USD)]
        self.past_volatility.append((self._gateway.now(), self.volatility))

    async def GetPrice(self, request: oracle_pb2.GetPriceRequest, context: Context) -> oracle_pb2.GetPriceResponse:
        """The price of a feed."""
        if not self.reachable:
            raise Unavailable("DOWN", "the oracle is down")
        return oracle_pb2.GetPriceResponse(price=self.price(request.feed))

    async def GetRoundAfter(
        self, request: oracle_pb2.GetRoundAfterRequest, context: Context
    ) -> oracle_pb2.GetRoundAfterResponse:
        """The first good round that was observed later."""
        if not self.reachable:
            raise Unavailable("DOWN", "the oracle is down")
        time = request.time.ToDatetime(dt.UTC)
        for price in (*self.past, self.price(request.feed)):
            is_good = price.feed == request.feed and price.status == oracle_pb2.PRICE_STATUS_OK
            if is_good and price.observe_time.ToDatetime(dt.UTC) > time:
                return oracle_pb2.GetRoundAfterResponse(price=price)
        raise Unavailable("NO_ROUND_YET", "not yet")

    async def GetVolatility(
        self, request: oracle_pb2.GetVolatilityRequest, context: Context
    ) -> oracle_pb2.GetVolatilityResponse:
        """The same over every window, of now or of the time that is asked for."""
        time = request.time.ToDatetime(dt.UTC) if request.HasField("time") else self._gateway.now()
        at = next((kept for until, kept in self.past_volatility if time <= until), self.volatility)
        return oracle_pb2.GetVolatilityResponse(close_to_close_30d=at, close_to_close_90d=at, ewma=at, parkinson_30d=at)

    async def ListReceipts(
        self, request: oracle_pb2.ListReceiptsRequest, context: Context
    ) -> oracle_pb2.ListReceiptsResponse:
        """What a test has decided, in its order."""
        first = int(request.cursor or 0)
        page = self.receipts[first : first + request.page_size]
        return oracle_pb2.ListReceiptsResponse(receipts=page, next_cursor=str(first + len(page) or ""))

    async def PreviewExpiryReceipts(
        self, request: oracle_pb2.PreviewExpiryReceiptsRequest, context: Context
    ) -> oracle_pb2.PreviewExpiryReceiptsResponse:
        """What receipts of heights would say."""
        if not self.windows_complete:
            raise Unavailable("WINDOW_INCOMPLETE", "not aggregated up to the burn block yet")
        response = oracle_pb2.PreviewExpiryReceiptsResponse()
        for height in request.expiration_burn_heights:
            btc_e8, stx_e8 = self.averages.get(height, (self.btc_e8, self.stx_e8))
            response.previews.add(expiration_burn_height=height, btc_price_usd_e8=btc_e8, stx_price_usd_e8=stx_e8)
        return response


def add_gateway(servicer: Any, server: grpc.aio.Server) -> None:
    """Adds a `StandInGateway` to a server."""
    chain_gateway_service_pb2_grpc.add_ChainGatewayServiceServicer_to_server(servicer, server)


def add_oracle(servicer: Any, server: grpc.aio.Server) -> None:
    """Adds a `StandInOracle` to a server."""
    oracle_service_pb2_grpc.add_OracleServiceServicer_to_server(servicer, server)

"""What the oracle remembers: rounds, observations, candles, averages, volatilities."""

from __future__ import annotations

from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api

from kernel.errors import Unavailable
from kernel.paging import page_size
from kernel.rpc.interceptors import Context
from services.oracle import convert, store, store_candles
from services.oracle import convert_history as history
from services.oracle.history import PriceHistory

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1_000


class HistoryMethods(grpc_api.OracleServiceServicer):
    """The part of the service that reads the past."""

    history: PriceHistory

    async def GetVolatility(self, request: pb.GetVolatilityRequest, context: Context) -> pb.GetVolatilityResponse:
        """Of the daily bars before the market day, or before that of a time, or of the window that was asked for."""
        feed, window = convert.feed_of(request.feed), history.volatility_window(request)
        if window is None:
            time = history.time_of(request) if request.HasField("time") else None
            return history.volatility_response(await self.history.volatility(feed, time))
        return history.window_response(window, await self.history.window_volatility(feed, *window))

    async def GetRoundAfter(self, request: pb.GetRoundAfterRequest, context: Context) -> pb.GetRoundAfterResponse:
        """The first OK round after a time, as it was stored."""
        feed, time = convert.feed_of(request.feed), history.time_of(request)
        async with self.history.database.reading() as session:
            price = await store.first_ok_price_after(session, feed, time)
        if price is None:
            raise Unavailable("NO_ROUND_YET", f"no OK {feed.symbol} round was observed after the time yet")
        return pb.GetRoundAfterResponse(price=convert.price_message(price))

    async def ListRounds(self, request: pb.ListRoundsRequest, context: Context) -> pb.ListRoundsResponse:
        """Rounds as they were stored, newest first."""
        feed, size = convert.feed_of(request.feed), page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        page = history.RoundPage.of(request, feed)
        async with self.history.database.reading() as session:
            prices = await store.prices_before(session, feed, page.after, page.before, size + 1)
        return history.rounds_response(page, prices, size)

    async def ListObservations(
        self, request: pb.ListObservationsRequest, context: Context
    ) -> pb.ListObservationsResponse:
        """Observations as they were stored, newest first."""
        feed, size = convert.feed_of(request.feed), page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        page = history.ObservationPage.of(request, feed)
        async with self.history.database.reading() as session:
            found = await store.observations_before(session, feed, page.after, page.before, size + 1)
        return history.observations_response(page, found, size)

    async def ListCandles(self, request: pb.ListCandlesRequest, context: Context) -> pb.ListCandlesResponse:
        """Candles, newest first."""
        feed, size = convert.feed_of(request.feed), page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        page = history.CandlePage.of(request, feed)
        now = self.history.now_seconds()
        async with self.history.database.reading() as session:
            found = await store_candles.candles_before(session, feed, page.span, page.first, page.before, size + 1)
        return history.candles_response(page, found, size, now)

    async def GetTwap(self, request: pb.GetTwapRequest, context: Context) -> pb.GetTwapResponse:
        """The average price of a window."""
        feed = convert.feed_of(request.feed)
        start, end = history.window_of(request)
        found = await self.history.twap(feed, start, end, history.minimum_coverage(request))
        return history.twap_response(start, end, found)

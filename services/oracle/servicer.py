"""OracleService: converts, calls, replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb

from kernel.database import Database
from kernel.errors import NotFound
from kernel.paging import page_size
from kernel.rpc.interceptors import Context
from kernel.rpc.tip import TipFollower
from services.oracle import convert, convert_receipts, store, store_receipts
from services.oracle.answers import PriceAnswers
from services.oracle.domain.override import OverrideRules
from services.oracle.domain.prices import Feed, Price, PriceStatus
from services.oracle.feeds import PriceSource
from services.oracle.history import PriceHistory
from services.oracle.publisher import Publisher
from services.oracle.receipts import Receipts
from services.oracle.servicer_history import HistoryMethods
from services.oracle.servicer_overrides import OverrideMethods
from services.oracle.watch import RoundWatch

_RECEIPTS: Final = 100
_MOST_RECEIPTS: Final = 1_000


@dataclass(frozen=True)
class OracleServicer(OverrideMethods, HistoryMethods):
    """Every method of the service; who may call which is in its description."""

    database: Database
    tip: TipFollower
    source: PriceSource
    publisher: Publisher
    receipts: Receipts
    rounds: RoundWatch
    answers: PriceAnswers
    overrides: OverrideRules
    history: PriceHistory

    async def GetPrice(self, request: pb.GetPriceRequest, context: Context) -> Any:
        """The latest round, judged by its age in market time now; as bytes, made once for all callers."""
        feed = convert.feed_of(request.feed)
        price = await self.rounds.latest(feed)
        if price is None:
            return pb.GetPriceResponse(price=convert.price_message(self._nothing(feed)))
        return self.answers.of(price).latest

    def _nothing(self, feed: Feed) -> Price:
        return convert.no_price(feed, self.source.is_synthetic(feed))

    async def WatchPrice(self, request: pb.WatchPriceRequest, context: Context) -> AsyncIterator[Any]:
        """The latest round, then every new one, each judged when it is sent; as bytes, made once for all streams."""
        feed, after = convert.feed_of(request.feed), convert.resume_round(request.resume_token)
        async for price in self.rounds.watch(feed, after):
            yield self.answers.of(price).watched

    async def GetRound(self, request: pb.GetRoundRequest, context: Context) -> pb.GetRoundResponse:
        """One round as it was stored, signed if it is OK, so that anyone can check or relay it."""
        feed, number = convert.feed_of(request.feed), convert.round_of(request.round)
        async with self.database.reading() as session:
            found = await store.round_with_observations(session, feed, number)
        if found is None:
            raise NotFound("ROUND_NOT_FOUND", f"{feed.symbol} has no round {number}")
        signature = self.publisher.signature_of(found.price) if found.price.status is PriceStatus.OK else b""
        return convert.round_response(found, signature)

    async def CreateActivationReceipt(
        self, request: pb.CreateActivationReceiptRequest, context: Context
    ) -> pb.CreateActivationReceiptResponse:
        """The receipt of one activation, made at most once."""
        row = await self.receipts.for_activation(convert.activation_request(request))
        return pb.CreateActivationReceiptResponse(receipt=convert.receipt_message(row))

    async def CreateExpiryReceipt(
        self, request: pb.CreateExpiryReceiptRequest, context: Context
    ) -> pb.CreateExpiryReceiptResponse:
        """The receipt of one expiration height, made at most once."""
        height = convert.positive("expiration_burn_height", request.expiration_burn_height)
        row = await self.receipts.for_expiry(height)
        return pb.CreateExpiryReceiptResponse(receipt=convert.receipt_message(row))

    async def PreviewExpiryReceipts(
        self, request: pb.PreviewExpiryReceiptsRequest, context: Context
    ) -> pb.PreviewExpiryReceiptsResponse:
        """What would decide the policies of some heights now, and nothing is decided by asking."""
        heights = convert_receipts.preview_heights(request)
        found = [await self.receipts.preview_expiry(height) for height in heights]
        return convert_receipts.previews_response(found)

    async def GetReceipt(self, request: pb.GetReceiptRequest, context: Context) -> pb.GetReceiptResponse:
        """A receipt and all that it was made from, as it was stored."""
        found = await self.receipts.find(convert.receipt_purpose(request))
        return convert_receipts.receipt_response(found, self.publisher.signature_of, *self.publisher.signed_for)

    async def ListReceipts(self, request: pb.ListReceiptsRequest, context: Context) -> pb.ListReceiptsResponse:
        """What decides payouts, in the order in which it was decided."""
        size = page_size(request.page_size, _RECEIPTS, _MOST_RECEIPTS)
        after = convert.receipt_number(request.cursor)
        async with self.database.reading() as session:
            rows = await store_receipts.deciding_receipts(session, after, size)
        return convert_receipts.receipts_response(request.cursor, rows)

    async def EnsurePublishedRounds(
        self, request: pb.EnsurePublishedRoundsRequest, context: Context
    ) -> pb.EnsurePublishedRoundsResponse:
        """A confirmed round of each feed that fits a receipt; both publications start before any is waited for."""
        height = convert.burn_height_of(request.burn_height)
        numbers = await self.publisher.ensure(height, convert.receipt_prices(request))
        return pb.EnsurePublishedRoundsResponse(btc_round=numbers[Feed.BTC_USD], stx_round=numbers[Feed.STX_USD])

    async def GetPublication(self, request: pb.GetPublicationRequest, context: Context) -> pb.GetPublicationResponse:
        """A signed round that is to be published."""
        price, signature = await self.publisher.signed(convert.feed_of(request.feed), convert.round_of(request.round))
        return pb.GetPublicationResponse(signed_round=convert.signed_round(price, signature))

    async def RecordPublication(
        self, request: pb.RecordPublicationRequest, context: Context
    ) -> pb.RecordPublicationResponse:
        """How a publication ended."""
        feed, number = convert.feed_of(request.feed), convert.round_of(request.round)
        outcome = convert.outcome_of(request.outcome)
        await self.publisher.record(feed, number, outcome, request.txid, request.reason, self.tip.now())
        return pb.RecordPublicationResponse()

"""www.okx.com and ws.okx.com: spot, version 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from deploy.exchanges.spelling import milliseconds
from deploy.exchanges.stand_in import StandIn


class Okx(StandIn):
    """Everything as text, in an envelope with a code."""

    name = "okx"
    markets: ClassVar[Mapping[str, Any]] = {"BTC/USDT": "BTC-USDT", "STX/USDT": "STX-USDT"}
    listing_path = "/api/v5/public/instruments"
    book_path = "/api/v5/market/books"
    websocket_path = "/ws/v5/public"
    query = "instId"
    too_many: ClassVar[Mapping[str, Any]] = {"code": "50011", "msg": "Too Many Requests", "data": []}

    def listing(self) -> Any:
        """Instruments."""
        return {"code": "0", "msg": "", "data": [_instrument(market) for market in self.markets.values()]}

    def book(self, market: str, book: Book) -> Any:
        """The book's first level: price, size, nothing, orders."""
        bids, asks = ([[level[0], level[1], "0", "1"] for level in side] for side in book.sides)
        levels = {"asks": asks, "bids": bids, "ts": str(milliseconds(book.time)), "seqId": 1}
        return {"code": "0", "msg": "", "data": [levels]}

    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """`{"op": "subscribe", "args": [{"channel": "tickers", "instId": "BTC-USDT"}]}`."""
        wanted = [one for one in message["args"] if self.pair_of(one["instId"])]
        answers = [{"event": "subscribe", "arg": one, "connId": "a4d3ae55"} for one in wanted]
        return [one["instId"] for one in wanted], answers

    def update(self, market: str, book: Book) -> Any:
        """Channel `tickers`."""
        ticker = {
            "instType": "SPOT",
            "instId": market,
            "last": "1.0",
            "lastSz": "0.1",
            "askPx": book.ask,
            "askSz": "1.5",
            "bidPx": book.bid,
            "bidSz": "1.5",
            "open24h": "1.0",
            "high24h": "1.0",
            "low24h": "1.0",
            "volCcy24h": "1.0",
            "vol24h": "1.0",
            "sodUtc0": "1.0",
            "sodUtc8": "1.0",
            "ts": str(milliseconds(book.time)),
        }
        return {"arg": {"channel": "tickers", "instId": market}, "data": [ticker]}


def _instrument(market: str) -> dict[str, Any]:
    base, quote = market.split("-")
    return {
        "instType": "SPOT",
        "instId": market,
        "baseCcy": base,
        "quoteCcy": quote,
        "settleCcy": "",
        "ctVal": "",
        "lever": "10",
        "listTime": "1548133413000",
        "lotSz": "0.00000001",
        "minSz": "0.00001",
        "state": "live",
        "tickSz": "0.0001",
        "uly": "",
        "maxMktSz": "1000000",
    }

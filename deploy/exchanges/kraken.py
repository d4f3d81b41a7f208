"""api.kraken.com and ws.kraken.com/v2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from deploy.exchanges.spelling import day_seconds, prices
from deploy.exchanges.stand_in import StandIn
from services.oracle.domain.history import DailyBar

_SIDES = {"XXBTZUSD": ("XXBT", "XBT/USD"), "STXUSD": ("STX", "STX/USD"), "USDTZUSD": ("USDT", "USDT/USD")}


class Kraken(StandIn):
    """Text in REST, bare numbers in the websocket; no time in either."""

    name = "kraken"
    markets: ClassVar[Mapping[str, Any]] = {"BTC/USD": "XXBTZUSD", "STX/USD": "STXUSD", "USDT/USD": "USDTZUSD"}
    listing_path = "/0/public/AssetPairs"
    book_path = "/0/public/Ticker"
    bars_path = "/0/public/OHLC"
    websocket_path = "/v2"
    query = "pair"
    too_many: ClassVar[Mapping[str, Any]] = {"error": ["EAPI:Rate limit exceeded"]}

    def listing(self) -> Any:
        """Asset pairs by their names."""
        return {"error": [], "result": {market: _pair(market) for market in self.markets.values()}}

    def book(self, market: str, book: Book) -> Any:
        """Ask and bid: price, whole lots, lots."""
        ticker = {
            "a": [book.ask, "1", "1.000"],
            "b": [book.bid, "1", "1.000"],
            "c": ["1.00000", "0.04408910"],
            "v": ["4147.94474901", "8896.96086304"],
            "p": ["1.00000", "1.00000"],
            "t": [3907, 10056],
            "l": ["1.00000", "1.00000"],
            "h": ["1.00000", "1.00000"],
            "o": "1.00000",
        }
        return {"error": [], "result": {market: ticker}}

    def bars(self, market: str, bars: Sequence[DailyBar]) -> Any:
        """Time, open, high, low, close, average, volume, count."""
        rows = [[day_seconds(bar), *prices(bar), "0.0", "12.50000000", 5] for bar in bars]
        return {"error": [], "result": {market: rows, "last": rows[-1][0] if rows else 0}}

    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """`{"method": "subscribe", "params": {"channel": "ticker", "symbol": [...]}}`."""
        if message.get("method") == "ping":
            return (), ({"method": "pong", "req_id": message.get("req_id")},)
        wanted = message["params"]["symbol"]
        answers = [
            {"method": "subscribe", "result": {"channel": "ticker", "symbol": one}, "success": True} for one in wanted
        ]
        return [self.markets[pair] for pair in wanted if pair in self.markets], answers

    def update(self, market: str, book: Book) -> Any:
        """Channel `ticker` of version 2."""
        ticker = {
            "symbol": self.pair_of(market),
            "bid": _number(book.bid),
            "bid_qty": 0.01362603,
            "ask": _number(book.ask),
            "ask_qty": 17.17988863,
            "last": 1.0,
            "volume": 2158.32346723,
            "vwap": 1.0,
            "low": 1.0,
            "high": 1.0,
            "change": -0.1,
            "change_pct": -2.41,
        }
        return {"channel": "ticker", "type": "update", "data": [ticker]}


def _pair(market: str) -> dict[str, Any]:
    base, name = _SIDES[market]
    return {
        "altname": market.replace("XXBTZ", "XBT").replace("USDTZ", "USDT"),
        "wsname": name,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": "ZUSD",
        "pair_decimals": 5,
        "lot_decimals": 8,
        "fees": [[0, 0.26]],
        "fees_maker": [[0, 0.16]],
        "leverage_buy": [],
        "leverage_sell": [],
        "ordermin": "0.0001",
        "status": "online",
    }


def _number(value: object) -> object:
    """A price as a bare number; whatever is none stays what it is."""
    try:
        return float(str(value))
    except ValueError:
        return value

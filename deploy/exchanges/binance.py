"""api.binance.com and stream.binance.com: spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from deploy.exchanges.spelling import milliseconds
from deploy.exchanges.stand_in import StandIn

_STREAM = "@ticker"


class Binance(StandIn):
    """Prices as text, times in milliseconds; the best bid and ask of REST have no time."""

    name = "binance"
    markets: ClassVar[Mapping[str, Any]] = {"BTC/USDT": "BTCUSDT", "STX/USDT": "STXUSDT"}
    listing_path = "/api/v3/exchangeInfo"
    book_path = "/api/v3/ticker/bookTicker"
    websocket_path = "/stream/ws/{stream}"
    query = "symbol"
    too_many: ClassVar[Mapping[str, Any]] = {"code": -1003, "msg": "Too many requests; the limit is 6000 a minute."}

    def listing(self) -> Any:
        """Symbols."""
        symbols = [_symbol(pair, market) for pair, market in self.markets.items()]
        return {"timezone": "UTC", "serverTime": 1, "rateLimits": [], "exchangeFilters": [], "symbols": symbols}

    def book(self, market: str, book: Book) -> Any:
        """The book's ticker."""
        return {"symbol": market, "bidPrice": book.bid, "bidQty": "1.5", "askPrice": book.ask, "askQty": "1.5"}

    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """`{"method": "SUBSCRIBE", "params": ["btcusdt@ticker"], "id": 1}`."""
        names = [one.removesuffix(_STREAM).upper() for one in message["params"] if one.endswith(_STREAM)]
        return [name for name in names if self.pair_of(name)], ({"result": None, "id": message["id"]},)

    def update(self, market: str, book: Book) -> Any:
        """Stream `ticker`."""
        time = milliseconds(book.time)
        ticker = {"e": "24hrTicker", "E": time, "s": market, "p": "-1.00", "P": "-0.10", "w": "1.00", "x": "1.00"}
        ticker |= {"c": "1.00", "Q": "0.01", "b": book.bid, "B": "1.5", "a": book.ask, "A": "1.5", "o": "1.00"}
        return ticker | {"h": "1.0", "l": "1.0", "v": "9.0", "q": "9.0", "O": time - 86_400_000, "C": time}


def _symbol(pair: str, market: str) -> dict[str, Any]:
    base, quote = pair.split("/")
    return {
        "symbol": market,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.0001", "maxPrice": "1000000.00", "tickSize": "0.0001"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.00", "stepSize": "0.00001"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }

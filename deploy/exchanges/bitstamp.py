"""www.bitstamp.net and ws.bitstamp.net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from deploy.exchanges.spelling import day_seconds, prices
from deploy.exchanges.stand_in import StandIn
from services.oracle.domain.history import DailyBar

_CHANNEL = "order_book_"


class Bitstamp(StandIn):
    """Everything as text; times in whole seconds, or microseconds."""

    name = "bitstamp"
    markets: ClassVar[Mapping[str, Any]] = {"BTC/USD": "btcusd", "STX/USD": "stxusd", "USDT/USD": "usdtusd"}
    listing_path = "/api/v2/markets/"
    book_path = "/api/v2/ticker/{market}/"
    bars_path = "/api/v2/ohlc/{market}/"
    websocket_path = "/ws"
    too_many: ClassVar[Mapping[str, Any]] = {"status": "error", "reason": "Request rate limit exceeded."}

    def listing(self) -> Any:
        """Markets."""
        return [_market(pair, market) for pair, market in self.markets.items()]

    def book(self, market: str, book: Book) -> Any:
        """The ticker."""
        return {
            "timestamp": str(int(book.time.timestamp())),
            "open": "1.00",
            "high": "1.00",
            "low": "1.00",
            "last": "1.00",
            "volume": "1.00",
            "vwap": "1.00",
            "bid": book.bid,
            "ask": book.ask,
            "side": "0",
            "open_24": "1.00",
            "percent_change_24": "0.10",
        }

    def bars(self, market: str, bars: Sequence[DailyBar]) -> Any:
        """Candles by name."""
        rows = []
        for bar in bars:
            figures = dict(zip(("open", "high", "low", "close"), prices(bar), strict=True))
            rows.append(figures | {"timestamp": str(day_seconds(bar)), "volume": "12.5"})
        return {"data": {"pair": self.pair_of(market), "ohlc": rows}}

    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """`{"event": "bts:subscribe", "data": {"channel": "order_book_btcusd"}}`."""
        channel = message["data"]["channel"]
        answer = {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}
        market = channel.removeprefix(_CHANNEL)
        return ([market] if channel.startswith(_CHANNEL) and self.pair_of(market) else []), (answer,)

    def update(self, market: str, book: Book) -> Any:
        """Channel `order_book`: the best levels, in full."""
        microseconds = int(book.time.timestamp() * 1_000_000)
        bids, asks = book.sides
        data = {
            "timestamp": str(microseconds // 1_000_000),
            "microtimestamp": str(microseconds),
            "bids": bids,
            "asks": asks,
        }
        return {"event": "data", "channel": f"{_CHANNEL}{market}", "data": data}


def _market(pair: str, market: str) -> dict[str, Any]:
    base, quote = pair.split("/")
    return {
        "name": pair,
        "market_symbol": market,
        "base_currency": base,
        "base_decimals": 8,
        "counter_currency": quote,
        "counter_decimals": 5,
        "minimum_order_value": "10",
        "trading": "Enabled",
        "instant_order_counter_decimals": 2,
        "market_type": "SPOT",
    }

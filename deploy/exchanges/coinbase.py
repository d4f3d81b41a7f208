"""api.exchange.coinbase.com and ws-feed.exchange.coinbase.com."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from deploy.exchanges.spelling import day_seconds, iso, prices
from deploy.exchanges.stand_in import StandIn
from services.oracle.domain.history import DailyBar


class Coinbase(StandIn):
    """Prices as text, except in candles; times in ISO 8601."""

    name = "coinbase"
    markets: ClassVar[Mapping[str, Any]] = {"BTC/USD": "BTC-USD", "STX/USD": "STX-USD", "USDT/USD": "USDT-USD"}
    listing_path = "/products"
    book_path = "/products/{market}/book"
    bars_path = "/products/{market}/candles"
    websocket_path = "/ws"
    too_many: ClassVar[Mapping[str, Any]] = {"message": "Public rate limit exceeded"}

    def listing(self) -> Any:
        """Products."""
        return [_product(market) for market in self.markets.values()]

    def book(self, market: str, book: Book) -> Any:
        """The book's first level."""
        bids, asks = ([[level[0], level[1], 1] for level in side] for side in book.sides)
        return {"bids": bids, "asks": asks, "sequence": 13051505638, "auction_mode": False, "time": iso(book.time)}

    def bars(self, market: str, bars: Sequence[DailyBar]) -> Any:
        """Newest first: time, low, high, open, close, volume, as numbers."""
        rows = []
        for bar in reversed(bars):
            opened, high, low, closed = (float(text) for text in prices(bar))
            rows.append([day_seconds(bar), low, high, opened, closed, 12.5])
        return rows

    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """`{"type": "subscribe", "product_ids": [...], "channels": ["ticker"]}`."""
        wanted = [market for market in message["product_ids"] if self.pair_of(market) is not None]
        return wanted, ({"type": "subscriptions", "channels": [{"name": "ticker", "product_ids": wanted}]},)

    def update(self, market: str, book: Book) -> Any:
        """Channel `ticker`."""
        return {
            "type": "ticker",
            "sequence": 37475248783,
            "product_id": market,
            "price": "1.00",
            "open_24h": "1.00",
            "volume_24h": "28063.00",
            "low_24h": "1.00",
            "high_24h": "1.00",
            "volume_30d": "783012.00",
            "best_bid": book.bid,
            "best_bid_size": "0.50000000",
            "best_ask": book.ask,
            "best_ask_size": "0.50000000",
            "side": "buy",
            "time": iso(book.time),
            "trade_id": 370843401,
            "last_size": "0.01",
        }


def _product(market: str) -> dict[str, Any]:
    base, quote = market.split("-")
    return {
        "id": market,
        "base_currency": base,
        "quote_currency": quote,
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "display_name": f"{base}/{quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "trading_disabled": False,
        "status": "online",
        "status_message": "",
        "auction_mode": False,
    }

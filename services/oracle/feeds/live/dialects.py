"""How each exchange is asked, and where in its answers the best bid and ask stand.

ccxt connects, signs, throttles and names errors. Of its unified tickers only `info`, the exchange's own message, is
read: they are floats, drop zeros, and would hide what this oracle has to name. Where an exchange's ticker carries the
time of its last trade the order book is asked instead, whose time is now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from services.oracle.feeds.live.quote import Quote, time_of_text, time_of_units


class Dialect(ABC):
    """One exchange. `ccxt_name` is its class in ccxt; `options` are ccxt's for it."""

    ccxt_name: ClassVar[str]
    options: ClassVar[Mapping[str, object]] = {}

    @staticmethod
    @abstractmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """ccxt's `urls['api']` for other addresses than the exchange's own; an empty one stays."""

    @staticmethod
    def listing(symbols: Sequence[str]) -> Mapping[str, object]:
        """Parameters that keep the list of markets short."""
        return {}

    @staticmethod
    @abstractmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """The best bid and ask over REST; `market` is the exchange's own name."""

    @staticmethod
    @abstractmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """The next best bid and ask over the websocket; `symbol` is ccxt's."""


class Kraken(Dialect):
    """Ticker of api.kraken.com, which has no time; websocket v2, at every change of the best bid and ask."""

    ccxt_name = "kraken"

    @staticmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """REST root and the websocket's version 2."""
        return _given({"public": rest}) | _nested({"publicV2": websocket})

    @staticmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """`b` and `a` are price, whole lots, lots."""
        answer = await exchange.publicGetTicker({"pair": market})
        ticker = answer["result"][market]
        return Quote(ticker["b"][0], ticker["a"][0], None)

    @staticmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """The channel `ticker`."""
        ticker = (await exchange.watch_ticker(symbol, {"event_trigger": "bbo"}))["info"]
        time = ticker.get("timestamp")
        return Quote(ticker.get("bid"), ticker.get("ask"), None if time is None else time_of_text(time))


class Coinbase(Dialect):
    """Coinbase Exchange: its public market data needs no key."""

    ccxt_name = "coinbaseexchange"

    @staticmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """REST root and websocket."""
        return _given({"public": rest, "ws": websocket})

    @staticmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """The top of the book, with the time of the answer; the ticker's time would be the last trade's."""
        book = await exchange.publicGetProductsIdBook({"id": market, "level": "1"})
        return Quote(_top(book["bids"]), _top(book["asks"]), time_of_text(book["time"]))

    @staticmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """The channel `ticker`, at every match."""
        ticker = (await exchange.watch_ticker(symbol))["info"]
        return Quote(ticker.get("best_bid"), ticker.get("best_ask"), time_of_text(ticker["time"]))


class Bitstamp(Dialect):
    """Ticker of www.bitstamp.net; websocket channel `order_book`, the top of the book each time in full.

    ccxt follows only the channel of differences there, whose book would have to be kept, and may drift.
    """

    ccxt_name = "bitstamp"

    @staticmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """REST root with `/api`, and websocket."""
        return _given({"public": rest, "ws": websocket})

    @staticmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """The ticker's time is that of the answer, in whole seconds."""
        ticker = await exchange.publicGetTickerPair({"pair": market})
        return Quote(ticker.get("bid"), ticker.get("ask"), time_of_units(ticker["timestamp"], 1))

    @staticmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """See `ccxt_client.Bitstamp`, which resolves it."""
        book = await exchange.watch_top(symbol)
        return Quote(_top(book["bids"]), _top(book["asks"]), time_of_units(book["microtimestamp"], 1_000_000))


class Binance(Dialect):
    """Spot of api.binance.com; websocket channel `ticker`, each second."""

    ccxt_name = "binance"
    options: ClassVar[Mapping[str, object]] = {"fetchMarkets": {"types": ["spot"]}}

    @staticmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """REST root with `/api/v3`; the websocket's must hold `/stream`, by which ccxt knows the spot market."""
        return _given({"public": rest}) | _nested({"spot": websocket})

    @staticmethod
    def listing(symbols: Sequence[str]) -> Mapping[str, object]:
        """The whole list is some twenty megabytes."""
        names = ",".join(f'"{symbol.replace("/", "")}"' for symbol in symbols)
        return {"symbols": f"[{names}]"}

    @staticmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """The best bid and ask, without a time."""
        ticker = await exchange.publicGetTickerBookTicker({"symbol": market})
        return Quote(ticker.get("bidPrice"), ticker.get("askPrice"), None)

    @staticmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """`E` is the time of the event."""
        ticker = (await exchange.watch_ticker(symbol))["info"]
        return Quote(ticker.get("b"), ticker.get("a"), time_of_units(ticker["E"], 1_000))


class Okx(Dialect):
    """Spot of www.okx.com, version 5; websocket channel `tickers`."""

    ccxt_name = "okx"
    options: ClassVar[Mapping[str, object]] = {"fetchMarkets": {"types": ["spot"]}}

    @staticmethod
    def urls(rest: str, websocket: str) -> Mapping[str, object]:
        """REST root, and websocket with `/ws/v5`."""
        return _given({"rest": rest, "ws": websocket})

    @staticmethod
    async def fetch(exchange: Any, market: str) -> Quote:
        """The top of the book, with its time."""
        answer = await exchange.publicGetMarketBooks({"instId": market, "sz": "1"})
        book = answer["data"][0]
        return Quote(_top(book["bids"]), _top(book["asks"]), time_of_units(book["ts"], 1_000))

    @staticmethod
    async def watch(exchange: Any, symbol: str) -> Quote:
        """`ts` is the time of the ticker."""
        ticker = (await exchange.watch_ticker(symbol))["info"]
        return Quote(ticker.get("bidPx"), ticker.get("askPx"), time_of_units(ticker["ts"], 1_000))


DIALECTS: Final[Mapping[str, type[Dialect]]] = {
    "kraken": Kraken,
    "coinbase": Coinbase,
    "bitstamp": Bitstamp,
    "binance": Binance,
    "okx": Okx,
}


def _top(side: Any) -> object:
    """The price of a book's first level; None of an empty side."""
    return side[0][0] if side else None


def _given(urls: Mapping[str, str]) -> dict[str, object]:
    return {name: url for name, url in urls.items() if url}


def _nested(urls: Mapping[str, str]) -> dict[str, object]:
    return {"ws": _given(urls)} if any(urls.values()) else {}

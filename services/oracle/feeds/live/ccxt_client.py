"""The one module that loads ccxt, at the cost of a second and a hundred megabytes: only a process with live sources
imports it.

Numbers stay what the exchange wrote: JSON is read with text for floats. A websocket message that ccxt cannot read ends
the attempt instead of ending ccxt's receiving loop in silence.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ccxt.pro  # type: ignore[import-untyped]

from services.oracle.domain.prices import Rejection
from services.oracle.feeds.live.quote import ReadingFault

# A RecursionError is what JSON gives that is nested without end.
_UNREADABLE: Final = (LookupError, TypeError, AttributeError, RecursionError)
_NOT_NUMERIC: Final = (ValueError, ArithmeticError)
_TOO_MANY: Final = frozenset({418, 429})


class ExactMessages:
    """Mixed into an exchange of ccxt: exact numbers, and a `Retry-After` that is kept."""

    retry_after_seconds = 0.0

    def on_json_response(self, response_body: str) -> Any:
        """What REST answered."""
        return _read_json(response_body)

    def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, *rest: Any) -> Any:
        """Keeps how long the exchange wants to be left alone; what 429 means does not depend on the body."""
        self.retry_after_seconds = 0.0
        if code in _TOO_MANY:
            given = {name.lower(): value for name, value in (headers or {}).items()}.get("retry-after", "")
            self.retry_after_seconds = float(given) if given.isascii() and given.isdigit() else 0.0
            raise ccxt.RateLimitExceeded(f"{code} {reason}")
        return super().handle_errors(code, reason, url, method, headers, *rest)  # type: ignore[misc]

    def client(self, url: str) -> Any:
        """The websocket of a URL, whose texts are read here."""
        client = super().client(url)  # type: ignore[misc]
        client.handle_text_or_binary_message = lambda data: self._read(client, data)
        return client

    def _read(self, client: Any, data: str | bytes) -> None:
        try:
            text = data.decode() if isinstance(data, bytes) else data
            message = _read_json(text) if text[:1] in ("{", "[") else text
            self.handle_message(client, message)  # type: ignore[attr-defined]
        except (ccxt.BaseError, *_UNREADABLE, *_NOT_NUMERIC) as error:
            client.on_error(ccxt.BadResponse(f"unreadable message: {error}"))


def _read_json(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_constant=str)


class Bitstamp(ccxt.pro.bitstamp):  # type: ignore[misc]
    """ccxt's Bitstamp with the channel that carries the top of the book in full."""

    async def watch_top(self, symbol: str) -> Mapping[str, Any]:
        """The next message of `order_book_{market}`: its `data`."""
        channel = f"order_book_{self.market(symbol)['id']}"
        request = {"event": "bts:subscribe", "data": {"channel": channel}}
        found: Mapping[str, Any] = await self.watch(self.urls["api"]["ws"], channel, request, channel)
        return found

    def handle_subscription_status(self, client: Any, message: Mapping[str, Any]) -> None:
        """There is no book to begin."""

    def handle_subject(self, client: Any, message: Mapping[str, Any]) -> None:
        """Resolves whoever watches the channel; a request to reconnect ends the connection."""
        if message["event"] == "bts:request_reconnect":
            raise ccxt.NetworkError("the exchange asks to reconnect")
        client.resolve(message["data"], message.get("channel"))


def make_exchange(name: str, options: Mapping[str, object], urls: Mapping[str, object], timeout_seconds: float) -> Any:
    """An exchange of ccxt, exact; `urls` are merged into its own."""
    base = Bitstamp if name == "bitstamp" else getattr(ccxt.pro, name)
    kind: Any = type(name, (ExactMessages, base), {})
    # `number`: candles keep the exchange's digits too.
    exchange = kind({"options": dict(options), "timeout": int(timeout_seconds * 1000), "number": str})
    exchange.has["fetchCurrencies"] = False
    exchange.urls["api"] = exchange.deep_extend(exchange.urls["api"], urls)
    return exchange


@contextmanager
def reading_faults(exchange: Any) -> Iterator[None]:
    """Errors of ccxt, and answers that it or we cannot read, as ReadingFault."""
    try:
        yield
    except ccxt.BaseError as error:
        raise ReadingFault(_rejection(error), str(error)[:200], exchange.retry_after_seconds) from error
    except asyncio.CancelledError as error:
        # ccxt cancels what waits for a connection that it closes; a cancellation of ours goes on.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ReadingFault(Rejection.UNREACHABLE, "the connection was closed") from error
    except TimeoutError as error:
        raise ReadingFault(Rejection.TIMED_OUT, "no answer in time") from error
    except _UNREADABLE as error:
        raise ReadingFault(Rejection.MALFORMED, f"unreadable answer: {error!r}"[:200]) from error
    except (OSError, RuntimeError) as error:
        # RuntimeError is aiohttp's for a connection that is being closed.
        raise ReadingFault(Rejection.UNREACHABLE, str(error)[:200]) from error
    except _NOT_NUMERIC as error:
        raise ReadingFault(Rejection.NOT_A_NUMBER, f"unreadable answer: {error!r}"[:200]) from error


def _rejection(error: Any) -> Rejection:
    kinds: tuple[tuple[Any, Rejection], ...] = (
        ((ccxt.RateLimitExceeded, ccxt.DDoSProtection), Rejection.RATE_LIMITED),
        (ccxt.RequestTimeout, Rejection.TIMED_OUT),
        (ccxt.BadSymbol, Rejection.NOT_LISTED),
        (ccxt.BadResponse, Rejection.MALFORMED),
    )
    return next((rejection for kind, rejection in kinds if isinstance(error, kind)), Rejection.UNREACHABLE)

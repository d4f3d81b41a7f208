"""Keeps the newest readings of one exchange: what its websocket says, and REST for pairs that it is silent about.

Each exchange has its own tasks, each pair its own polling: what is slow or broken delays nobody else.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from kernel.errors import Unavailable
from kernel.log import get_logger
from services.oracle.domain.prices import Rejection
from services.oracle.feeds.live.backoff import Backoff
from services.oracle.feeds.live.configuration import Timing
from services.oracle.feeds.live.exchange import Exchange
from services.oracle.feeds.live.history import KEPT, Reading, ReadingHistory
from services.oracle.feeds.live.quote import Quote, ReadingFault, middle_e8
from services.oracle.metrics import READING_FAULTS, READINGS, WEBSOCKET_UP

_LONGEST_PAUSE_SECONDS: Final = 3600.0
_WEBSOCKET: Final = "websocket"
_REST: Final = "rest"
# Faults that an answer had, so that it displaces what was read before.
_ANSWERS: Final = frozenset({Rejection.MALFORMED, Rejection.NOT_A_NUMBER, Rejection.NOT_LISTED})


class ExchangeFollower:
    """Follows one exchange; `run` is the background task. `market_time` may raise Unavailable: then nothing counts."""

    def __init__(
        self,
        exchange: Exchange,
        histories: Mapping[str, ReadingHistory],
        timing: Timing,
        market_time: Callable[[], dt.datetime],
    ) -> None:
        self._exchange = exchange
        self._name = exchange.sources.name
        self._histories = histories
        self._timing = timing
        self._market_time = market_time
        # When the websocket last spoke of each pair.
        self._streamed = dict.fromkeys(histories, -math.inf)
        self._paused_until = -math.inf

    async def run(self) -> None:
        """Follows until cancelled."""
        try:
            await self._list_markets()
            async with asyncio.TaskGroup() as group:
                if self._exchange.sources.websocket:
                    group.create_task(self._stream())
                for symbol in self._histories:
                    group.create_task(self._poll(symbol))
        finally:
            WEBSOCKET_UP.labels(self._name).set(0)
            await self._exchange.close()

    async def _list_markets(self) -> None:
        backoff = Backoff(self._timing.longest_backoff_seconds)
        while True:
            try:
                await self._exchange.list_markets()
                return
            except ReadingFault as fault:
                for symbol in self._histories:
                    self._failed(symbol, _REST, fault)
                await asyncio.sleep(self._pause(backoff, fault))

    async def _stream(self) -> None:
        """Websocket after websocket, each until it fails."""
        backoff = Backoff(self._timing.longest_backoff_seconds)
        while True:
            symbols = [symbol for symbol in self._histories if self._exchange.lists(symbol)]
            began = time.monotonic()
            try:
                async with asyncio.TaskGroup() as group:
                    for symbol in symbols:
                        group.create_task(self._watch(symbol))
                    group.create_task(self._end_silence())
            except* ReadingFault as faults:
                fault = _first(faults)
                for symbol in symbols:
                    self._failed(symbol, _WEBSOCKET, fault)
                get_logger().warning("websocket lost", source=self._name, error=str(fault))
                if time.monotonic() - began > self._timing.longest_backoff_seconds:
                    backoff.succeeded()
                pause = self._pause(backoff, fault)
            WEBSOCKET_UP.labels(self._name).set(0)
            await self._exchange.disconnect()
            await asyncio.sleep(pause)

    async def _watch(self, symbol: str) -> None:
        while True:
            self._take(symbol, _WEBSOCKET, await self._exchange.watch(symbol))
            self._streamed[symbol] = time.monotonic()
            WEBSOCKET_UP.labels(self._name).set(1)

    async def _end_silence(self) -> None:
        """Fails once nothing came for so long that the connection cannot be trusted."""
        limit, began = self._timing.reconnect_seconds, time.monotonic()
        while True:
            silent = time.monotonic() - max(began, *self._streamed.values())
            if silent >= limit:
                raise ReadingFault(Rejection.TIMED_OUT, f"websocket silent for {limit:g} s")
            await asyncio.sleep(limit - silent)

    async def _poll(self, symbol: str) -> None:
        """Asks by REST whenever the pair was not heard of for a while."""
        backoff, wait = Backoff(self._timing.longest_backoff_seconds), 0.0
        while True:
            quiet = self._timing.silent_seconds - (time.monotonic() - self._streamed[symbol])
            wait = max(wait, quiet, self._paused_until - time.monotonic())
            if wait > 0:
                await asyncio.sleep(wait)
                wait = 0.0
                continue
            try:
                self._take(symbol, _REST, await self._exchange.fetch(symbol))
            except ReadingFault as fault:
                self._failed(symbol, _REST, fault)
                wait = self._pause(backoff, fault)
            else:
                backoff.succeeded()
                wait = self._timing.poll_seconds

    def _pause(self, backoff: Backoff, fault: ReadingFault) -> float:
        """Seconds until the next attempt; an exchange that limits us is left alone by every pair."""
        seconds = backoff.failed(min(fault.retry_after_seconds, _LONGEST_PAUSE_SECONDS))
        if fault.rejection is Rejection.RATE_LIMITED:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        return seconds

    def _take(self, symbol: str, transport: str, quote: Quote) -> None:
        try:
            now = self._market_time()
        except Unavailable:
            return
        try:
            reading = reading_of(quote, now, self._timing.future_seconds)
        except ReadingFault as fault:
            reading = Reading(now, 0, fault.rejection)
            self._count(symbol, transport, fault)
        self._histories[symbol].add(reading)
        READINGS.labels(self._name, symbol, transport).inc()

    def _failed(self, symbol: str, transport: str, fault: ReadingFault) -> None:
        """A pair could not be read. An answer that is none counts at once, a lost connection when the last is old."""
        self._count(symbol, transport, fault)
        try:
            now = self._market_time()
        except Unavailable:
            return
        if transport == _REST and fault.rejection in _ANSWERS:
            self._histories[symbol].add(Reading(now, 0, fault.rejection))
        else:
            self._histories[symbol].fail(now, fault.rejection)

    def _count(self, symbol: str, transport: str, fault: ReadingFault) -> None:
        READING_FAULTS.labels(self._name, symbol, transport, str(fault.rejection)).inc()


def reading_of(quote: Quote, now: dt.datetime, future_seconds: float) -> Reading:
    """What a quote is at a market time: the exchange's own time counts, unless it is a little ahead; else the receipt.

    ReadingFault for a quote that is no price, and for a time that is out of bounds: FUTURE, or STALE, for with the
    first moment of the calendar nothing could be reckoned.
    """
    if quote.time is None:
        return Reading(now, middle_e8(quote))
    ahead = quote.time - now
    if ahead > dt.timedelta(seconds=future_seconds) or ahead < -KEPT:
        rejection = Rejection.FUTURE if ahead > dt.timedelta() else Rejection.STALE
        raise ReadingFault(rejection, f"{quote.time.isoformat()} at {now.isoformat()}")
    return Reading(min(quote.time.astimezone(dt.UTC), now), middle_e8(quote))


def _first(faults: BaseExceptionGroup[ReadingFault]) -> ReadingFault:
    """Any of the failures that ended a connection: they have one cause."""
    first = faults.exceptions[0]
    return first if isinstance(first, ReadingFault) else _first(first)

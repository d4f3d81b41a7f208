"""Serves every stand-in on one port: each exchange below its name, and what drives them below `/control`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import WSMsgType, web

from deploy.exchanges.binance import Binance
from deploy.exchanges.bitstamp import Bitstamp
from deploy.exchanges.coinbase import Coinbase
from deploy.exchanges.falsify import falsified
from deploy.exchanges.faults import ANY, HINDRANCES, Fault, FaultBoard, Place
from deploy.exchanges.kraken import Kraken
from deploy.exchanges.market import Market
from deploy.exchanges.okx import Okx
from deploy.exchanges.stand_in import StandIn

STAND_INS: Final[Sequence[StandIn]] = (Kraken(), Coinbase(), Bitstamp(), Binance(), Okx())
_BEAT_SECONDS: Final = 0.2
_RETRY_AFTER_SECONDS: Final = "1"
_HTML: Final = "<html><body>502 Bad Gateway</body></html>"
_NESTED: Final = "[" * 100_000 + "]" * 100_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ExchangeServer:
    """The stand-ins around one market. `address` is `host:port` once `start` has returned."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.faults = FaultBoard()
        self.address = ""
        self._moved = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1; OSError if the port is in use."""
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, number = self._runner.addresses[0][:2]
        self.address = f"{host}:{number}"

    async def stop(self) -> None:
        """Ends every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def move(self, time: dt.datetime) -> None:
        """Sets market time; every websocket tells the new prices."""
        async with self._moved:
            self.market.now = time
            self._moved.notify_all()

    async def set_fault(self, place: Place, fault: Fault | None) -> None:
        """Begins or ends a fault; open websockets follow at once."""
        async with self._moved:
            self.faults.set(place, fault)
            self._moved.notify_all()

    def _application(self) -> web.Application:
        application = web.Application()
        for one in STAND_INS:
            add = application.router.add_get
            add(f"/{one.name}{one.listing_path}", self._rest(one, self._listing))
            add(f"/{one.name}{one.book_path}", self._rest(one, self._book))
            if one.bars_path:
                add(f"/{one.name}{one.bars_path}", self._rest(one, self._bars))
            add(f"/{one.name}{one.websocket_path}", self._websocket(one))
        application.router.add_post("/control/clock", self._control_clock)
        application.router.add_post("/control/faults", self._control_faults)
        application.router.add_post("/control/offset", self._control_offset)
        return application

    def _rest(self, one: StandIn, answer: Callable[[StandIn, str], Any]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            market = request.match_info.get("market") or request.query.get(one.query, "")
            pair = one.pair_of(market) or ANY
            fault = self.faults.at(one.name, pair, "rest")
            if fault in HINDRANCES:
                hindered = await self._hindered(one, pair, request, fault)
                if hindered is not None:
                    return hindered
            return web.json_response(answer(one, market))

        return handle

    async def _hindered(self, one: StandIn, pair: str, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault is Fault.SILENT:
            return None
        if fault is Fault.CUT_OFF and request.transport is not None:
            request.transport.abort()
        if fault is Fault.RATE_LIMITED:
            return web.json_response(one.too_many, status=429, headers={"Retry-After": _RETRY_AFTER_SECONDS})
        if fault is Fault.GARBAGE:
            return web.Response(text=_HTML, content_type="text/html")
        if fault is Fault.NESTED:
            return web.Response(text=_NESTED, content_type="application/json")
        async with self._moved:
            await self._moved.wait_for(lambda: self.faults.at(one.name, pair, "rest") is not fault)
        return None

    def _listing(self, one: StandIn, market: str) -> Any:
        return one.listing()

    def _book(self, one: StandIn, market: str) -> Any:
        pair = one.pair_of(market)
        book = None if pair is None else self.market.book(one.name, pair)
        if pair is None or book is None:
            raise web.HTTPNotFound(text=json.dumps({"message": "NotFound"}), content_type="application/json")
        return one.book(market, falsified(book, self.faults.at(one.name, pair, "rest")))

    def _bars(self, one: StandIn, market: str) -> Any:
        pair = one.pair_of(market)
        if pair is None:
            raise web.HTTPNotFound(text=json.dumps({"message": "NotFound"}), content_type="application/json")
        return one.bars(market, self.market.bars(pair, 300))

    def _websocket(self, one: StandIn) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            fault = self.faults.at(one.name, ANY, "websocket")
            if fault is Fault.RATE_LIMITED:
                return web.json_response(one.too_many, status=429)
            if fault is Fault.CUT_OFF and request.transport is not None:
                request.transport.abort()
            socket = web.WebSocketResponse(autoping=True)
            await socket.prepare(request)
            markets: list[str] = []
            pusher = asyncio.ensure_future(self._push(one, request, socket, markets))
            try:
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        await self._subscribe(one, socket, message.data, markets)
            finally:
                pusher.cancel()
            return socket

        return handle

    async def _subscribe(self, one: StandIn, socket: web.WebSocketResponse, text: str, markets: list[str]) -> None:
        if text == "ping":
            await socket.send_str("pong")
            return
        wanted, answers = one.subscription(json.loads(text))
        for answer in answers:
            await socket.send_json(answer)
        markets.extend(wanted)
        async with self._moved:
            self._moved.notify_all()

    async def _push(
        self, one: StandIn, request: web.Request, socket: web.WebSocketResponse, markets: Sequence[str]
    ) -> None:
        while not socket.closed:
            if self.faults.at(one.name, ANY, "websocket") is Fault.CUT_OFF and request.transport is not None:
                request.transport.abort()
                return
            for market in tuple(markets):
                await self._tell(one, socket, market)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEAT_SECONDS), self._moved:
                    await self._moved.wait()

    async def _tell(self, one: StandIn, socket: web.WebSocketResponse, market: str) -> None:
        pair = one.pair_of(market) or ANY
        fault = self.faults.at(one.name, pair, "websocket")
        book = self.market.book(one.name, pair)
        if fault is Fault.GARBAGE:
            await socket.send_str('{"channel": "ticker", "data": [{"bid": 79')
        elif fault is Fault.NESTED:
            await socket.send_str(_NESTED)
        elif fault not in HINDRANCES and book is not None:
            await socket.send_json(one.update(market, falsified(book, fault)))

    async def _control_clock(self, request: web.Request) -> web.Response:
        await self.move(dt.datetime.fromisoformat((await request.json())["market_time"]))
        return web.json_response({})

    async def _control_faults(self, request: web.Request) -> web.Response:
        body = await request.json()
        place = Place(body["exchange"], body.get("pair", ANY), body.get("transport", ANY))
        await self.set_fault(place, Fault(body["fault"]) if body.get("fault") else None)
        return web.json_response({})

    async def _control_offset(self, request: web.Request) -> web.Response:
        body = await request.json()
        async with self._moved:
            self.market.offsets_bps[body["exchange"]] = int(body["bps"])
            self._moved.notify_all()
        return web.json_response({})

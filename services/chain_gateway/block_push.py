"""Hints that there is a new block, from the websocket of the Stacks API. They are believed no further than that.

Each node is subscribed to by itself. A connection that is silent for too long is opened anew; one that talks too much
wakes the poller ten times per polling interval at most. Without any the poller is as late as its interval.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp import WSMsgType

from kernel.log import get_logger
from services.chain_gateway import metrics

PATH: Final = "/extended/v1/ws"
_SUBSCRIBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"event": "block"}}
_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_SILENCE_SECONDS: Final = 90.0
_PING_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_MAX_MESSAGE_BYTES: Final = 1024 * 1024
_HINTS_PER_INTERVAL: Final = 10
_LEAST_SECONDS: Final = 0.1


class BlockPush:
    """Listens in the background (`run`); whoever polls waits with `wait` instead of sleeping."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: Sequence[str],
        poll_seconds: float,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self._http = http
        self._urls = [url.rstrip("/") for url in urls]
        self._least_seconds = min(_LEAST_SECONDS, poll_seconds / _HINTS_PER_INTERVAL)
        self._silence_seconds = silence_seconds
        self._hinted = asyncio.Event()

    async def run(self) -> None:
        """Listens to all nodes until cancelled."""
        await asyncio.gather(*map(self._follow, self._urls))

    async def wait(self, seconds: float) -> None:
        """Returns after so many seconds, or earlier on a hint; one that came since the last wait counts."""
        least = min(seconds, self._least_seconds)
        await asyncio.sleep(least)
        try:
            async with asyncio.timeout(seconds - least):
                await self._hinted.wait()
        except TimeoutError:
            return
        finally:
            self._hinted.clear()

    async def _follow(self, url: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                if await self._listen(url):
                    pause = _FIRST_PAUSE_SECONDS
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                get_logger().debug("no push from a node", url=url, error=str(error)[:200])
            finally:
                metrics.PUSH_CONNECTED.labels(url).set(0)
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _listen(self, url: str) -> bool:
        """Until the connection ends, or has been silent for too long; whether there was a hint."""
        heard = False
        async with self._http.ws_connect(
            url + PATH, heartbeat=_PING_SECONDS, max_msg_size=_MAX_MESSAGE_BYTES
        ) as socket:
            await socket.send_json(_SUBSCRIBE)
            metrics.PUSH_CONNECTED.labels(url).set(1)
            # A block may have come before we listened.
            self._hinted.set()
            while True:
                try:
                    message = await socket.receive(timeout=self._silence_seconds)
                except TimeoutError:
                    metrics.PUSH_SILENT.labels(url).inc()
                    return heard
                if message.type in _ENDS:
                    return heard
                if message.type is WSMsgType.TEXT and _is_block(message.data):
                    heard = True
                    metrics.PUSH_HINTS.labels(url).inc()
                    self._hinted.set()


def _is_block(text: str) -> bool:
    """Whether a message tells of a block; what the block is does not matter."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("method") == "block"

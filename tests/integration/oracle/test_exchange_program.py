"""The stand-ins of exchanges as a program, driven over HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.oracle.domain.prices import Feed
from services.oracle.feeds.live.configuration import load_sources
from tests.integration.oracle.exchanges import soon
from tests.integration.oracle.process import ROOT


async def test_the_program_shows_recorded_prices_and_does_as_told(tmp_path: Path) -> None:
    """It says where it listens and writes the file that leads an oracle there; its clock, an exchange's offset and
    faults follow `/control`; a day that was not recorded has no price; it ends on SIGTERM."""
    sources_file = tmp_path / "sources.toml"
    command = (sys.executable, "-m", "deploy.exchanges", "--port", "0", "--write-sources", str(sources_file))
    program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    try:
        url = (await program.stdout.readline()).decode().split()[1]
        async with aiohttp.ClientSession(url) as session:
            first = await _coinbase(session)
            await session.post("/control/clock", json={"market_time": "2020-03-12T23:59:00+00:00"})
            crashed = await _coinbase(session)
            await session.post("/control/offset", json={"exchange": "coinbase", "bps": -5000})
            attacked = await _coinbase(session)
            await session.post("/control/faults", json={"exchange": "coinbase", "fault": "rate_limited"})
            limited = await _coinbase(session)
            await session.post("/control/faults", json={"exchange": "coinbase"})
            await session.post("/control/clock", json={"market_time": "2020-10-12T12:00:00+00:00"})
            unrecorded = await _coinbase(session)
        program.send_signal(signal.SIGTERM)
        assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert (first["status"], limited["status"], unrecorded["status"]) == (200, 429, 404)
    assert 7_600 < first["bid"] < first["ask"] < 8_000
    # The close of the day of the crash in the recording, then half of it.
    assert abs(crashed["bid"] / 4970.79 - 1) < 0.001
    assert abs(attacked["bid"] / 4970.79 - 0.5) < 0.001
    sources = load_sources(str(sources_file))
    assert sources.simulated
    assert sources.synthetic == {Feed.STX_USD}
    assert all(one.rest_url.startswith(url) and one.websocket for one in sources.exchanges)


async def test_the_program_follows_the_clock_of_a_devnet() -> None:
    """Its prices are those of the devnet's market time, and go on with it."""
    clock = {"market_time": dt.datetime(2020, 3, 12, 23, 59, tzinfo=dt.UTC).timestamp()}

    async def tell(_: web.Request) -> web.Response:
        return web.json_response({**clock, "burn_height": 1, "speed": 0, "held": []})

    application = web.Application()
    application.router.add_get("/devnet/clock", tell)
    async with TestServer(application) as devnet:
        command = (sys.executable, "-m", "deploy.exchanges", "--port", "0", "--devnet", str(devnet.make_url("/")))
        program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        assert program.stdout is not None
        try:
            url = (await program.stdout.readline()).decode().split()[1]
            async with aiohttp.ClientSession(url) as session:
                await soon(partial(_shows, session, 4970.79))
                clock["market_time"] += 120
                await soon(partial(_shows, session, 5017.83))
        finally:
            program.terminate()
            await program.wait()


async def _shows(session: aiohttp.ClientSession, price: float) -> bool:
    return bool(abs((await _coinbase(session))["bid"] / price - 1) < 0.001)


async def _coinbase(session: aiohttp.ClientSession) -> dict[str, Any]:
    """Status, bid and ask of Coinbase's BTC-USD."""
    async with session.get("/coinbase/products/BTC-USD/book?level=1") as answer:
        body = await answer.json()
    sides = {side: float(body[f"{side}s"][0][0]) for side in ("bid", "ask") if answer.status == 200}
    return {"status": answer.status, **sides}

"""The oracle's own process on live sources: ccxt, websockets and REST of the stand-ins, rounds over gRPC."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb

from deploy.exchanges.faults import Fault, Place
from deploy.exchanges.market import Market
from deploy.exchanges.server import STAND_INS, ExchangeServer
from deploy.exchanges.sources import sources_document
from services.oracle.domain.prices import Rejection
from tests.integration.oracle.exchanges import DATA, NAMES, TIMING, soon
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import BTC, START, STX
from tests.integration.oracle.process import free_address, oracle_process, process_environment, serve_identity

_STEP_SECONDS: Final = 59


@dataclass
class Scene:
    """A process, the exchanges that it reads, and the gateway that owns its market time."""

    stub: Any
    exchanges: ExchangeServer
    gateway: GatewayStandIn
    metrics: str

    async def next_round(self) -> pb.GetRoundResponse:
        """Moves a minute on: the exchanges speak a second before the boundary of the next round. That round."""
        time = self.gateway.market_time + dt.timedelta(seconds=_STEP_SECONDS)
        before = await self._readings()
        await self.gateway.move_to(time)
        await self.exchanges.move(time)
        await soon(lambda: self._heard(before))
        await self.gateway.advance(60 - _STEP_SECONDS)
        return await self.round(int(self.gateway.market_time.timestamp()))

    async def round(self, number: int) -> pb.GetRoundResponse:
        """The round of BTC/USD with a number, once there is one."""

        async def there() -> bool:
            return bool((await self.stub.GetPrice(pb.GetPriceRequest(feed=BTC))).price.round >= number)

        await soon(there)
        answer: pb.GetRoundResponse = await self.stub.GetRound(pb.GetRoundRequest(feed=BTC, round=number))
        return answer

    async def figures(self, *names: str) -> list[float]:
        """Figures of the process, each the sum of those whose name with labels begins so."""
        async with aiohttp.ClientSession() as session, session.get(self.metrics) as answer:
            lines = (await answer.text()).splitlines()
        return [sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)) for name in names]

    async def _readings(self) -> list[float]:
        pairs = [(one.name, pair) for one in STAND_INS for pair in one.markets]
        return await self.figures(
            *(f'bithedge_oracle_readings_total{{pair="{pair}",source="{name}"' for name, pair in pairs)
        )

    async def _heard(self, before: list[float]) -> bool:
        # Two more than before: the first may have been on its way when the time moved.
        return all(now >= then + 2 for now, then in zip(await self._readings(), before, strict=True))


@asynccontextmanager
async def live_process(tmp_path: Path, database_url: str) -> AsyncIterator[Scene]:
    """The process with its neighbours."""
    exchanges, gateway = ExchangeServer(Market(DATA, START)), GatewayStandIn(START)
    await exchanges.start()
    gateway_server, gateway_address = await serve_gateway(gateway)
    identity_server, identity_address = await serve_identity()
    document = tmp_path / "live_sources.toml"
    document.write_text(sources_document(exchanges.address, TIMING))
    port = free_address().rpartition(":")[2]
    environment = process_environment(tmp_path, database_url) | {
        "PRICE_SOURCE": "live",
        "LIVE_SOURCES_FILE": str(document),
        "CHAIN_GATEWAY_ADDRESS": gateway_address,
        "IDENTITY_ADDRESS": identity_address,
        "METRICS_PORT": port,
    }
    try:
        async with oracle_process(environment) as stub:
            yield Scene(stub, exchanges, gateway, f"http://127.0.0.1:{port}/metrics")
    finally:
        await gateway_server.stop(None)
        await identity_server.stop(None)
        await exchanges.stop()


async def test_live_prices_reach_the_callers_and_a_lie_is_named(tmp_path: Path, empty_database_url: str) -> None:
    """Rounds are made from five exchanges read over their own protocols, OK, labelled as simulated, STX as synthetic.
    One that shows crossed books is listed and counted as rejected, and the price is that of the other four."""
    async with live_process(tmp_path, empty_database_url) as scene:
        honest = await scene.next_round()
        stx = (await scene.stub.GetPrice(pb.GetPriceRequest(feed=STX))).price
        await scene.exchanges.set_fault(Place("coinbase", "BTC/USD"), Fault.CROSSED)
        faulty = await scene.next_round()
        name = 'bithedge_oracle_rejections_total{feed="BTC_USD",rejection="CROSSED_BOOK",source="coinbase"}'
        (counted,) = await scene.figures(name)
        volatility = await _eventually_volatility(scene.stub)
    assert honest.price.status == faulty.price.status == pb.PRICE_STATUS_OK
    assert [one.source for one in honest.observations] == list(NAMES)
    assert all(one.used and one.simulated for one in honest.observations)
    assert {one.source: one.rejection for one in faulty.observations} == dict.fromkeys(NAMES, "") | {
        "coinbase": str(Rejection.CROSSED_BOOK)
    }
    assert (stx.status, stx.synthetic, honest.price.synthetic) == (pb.PRICE_STATUS_OK, True, False)
    assert abs(faulty.price.price_usd_e8 / honest.price.price_usd_e8 - 1) < 0.002
    assert counted == 1
    assert 0.1 < volatility < 2


async def _eventually_volatility(stub: Any) -> float:
    found: list[float] = []

    async def there() -> bool:
        try:
            answer = await stub.GetVolatility(pb.GetVolatilityRequest(feed=BTC))
        except grpc.aio.AioRpcError:
            return False
        found.append(answer.close_to_close_30d)
        return True

    await soon(there)
    return found[0]

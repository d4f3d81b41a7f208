"""The past of the prices: candles kept with the rounds, averages, volatilities, pages."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import grpc
import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.oracle import store, store_candles
from services.oracle.domain.candles import CandleSpan, candles_of
from services.oracle.domain.prices import Feed, Price, PriceStatus, Round, boundary_time
from services.oracle.feeds.replay.exchanges import ReplayedPrices
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import (
    BTC,
    START,
    STX,
    USD,
    Oracle,
    ScriptedPrices,
    eventually,
    oracle_at,
    running_oracle,
)

DATA = Path(__file__).resolve().parents[3] / "data"
FIRST = int(START.timestamp())
_ALL = 1 << 62


async def _kept_equal_recomputed(oracle: Oracle) -> bool:
    async with oracle.database.reading() as session:
        for feed in Feed:
            made = candles_of(await store.prices_between(session, feed, 0, _ALL), 60)
            for span in CandleSpan:
                kept = await store_candles.candles_before(session, feed, span, 0, _ALL, 10_000)
                if [*kept][::-1] != [one for one in made if one.span is span]:
                    return False
    return True


def _round(feed: Feed, number: int) -> Round:
    time = boundary_time(number)
    return Round(Price(feed, number, PriceStatus.OK, "", 6_000 * USD, 0, time, time, 2_000, False), [])


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


def _twap(start: int, end: int, minimum_coverage_bps: int = 0) -> pb.GetTwapRequest:
    return pb.GetTwapRequest(
        feed=BTC,
        start_time=Timestamp(seconds=start),
        end_time=Timestamp(seconds=end),
        minimum_coverage_bps=minimum_coverage_bps,
    )


async def test_candles_equal_what_the_rounds_give_through_outages_and_restarts(database_url: str) -> None:
    """After silence, degraded rounds, a gap that is not made up for, a restart, and rounds of a release without
    candles, every candle equals the recomputation from the stored rounds."""
    source = ScriptedPrices(path=lambda feed, at: USD * (7_000 + int(at.timestamp()) // 60 * 7919 % 1_000))
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    async with running_oracle(database_url, gateway, address, source) as oracle:
        await oracle.wait_for_round()
        await oracle.advance(1_500)
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(900)
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(300)
        source.sources[Feed.BTC_USD] = 5
        await oracle.advance(86_400)
        assert await _kept_equal_recomputed(oracle)
        # A release without candles leads for ten minutes.
        last = int(gateway.market_time.timestamp()) // 60 * 60
        async with oracle.database.transaction() as session:
            await store.insert_rounds(session, [_round(feed, last + 60 * n) for n in range(1, 11) for feed in Feed])
    await gateway.advance(600)
    async with running_oracle(database_url, gateway, address, source) as oracle:
        await eventually(lambda: _kept_equal_recomputed(oracle))
        await oracle.advance(180)
        assert await _kept_equal_recomputed(oracle)
        async with oracle.database.transaction() as session:
            # As the migration leaves it.
            await (await session.connection()).exec_driver_sql("DELETE FROM oracle.candle")
    async with running_oracle(database_url, gateway, address, source) as oracle:
        await eventually(lambda: _kept_equal_recomputed(oracle))
        day = await oracle.stub.ListCandles(pb.ListCandlesRequest(feed=BTC, span=pb.CANDLE_SPAN_ONE_DAY))
    await server.stop(None)
    assert [one.complete for one in day.candles] == [False, True]


async def test_an_average_of_any_window_says_what_it_covers(database_url: str) -> None:
    """A price that steps each hour: the average of 90 minutes weighs it by time; a window half of which was never
    observed is refused unless less is asked for, and what is no window is refused by name."""
    source = ScriptedPrices(path=lambda feed, at: (8_000 + (int(at.timestamp()) - FIRST - 1) // 3_600 * 90) * USD)
    async with oracle_at(database_url, source) as oracle:
        await oracle.advance(7_200)
        found = await oracle.stub.GetTwap(_twap(FIRST, FIRST + 5_400))
        odd = await oracle.stub.GetTwap(_twap(FIRST + 3_590, FIRST + 3_601))
        half = await oracle.stub.GetTwap(_twap(FIRST - 14_461, FIRST + 7_200, 3_000))
        low = await _refusal(oracle.stub.GetTwap(_twap(FIRST - 14_461, FIRST + 7_200)))
        wrong = [
            await _refusal(oracle.stub.GetTwap(request))
            for request in (_twap(FIRST, FIRST), _twap(0, FIRST), pb.GetTwapRequest(feed=BTC), _twap(FIRST, _ALL))
        ]
    assert (found.price_usd_e8, found.window_seconds, found.covered_seconds) == (8_030 * USD, 5_400, 5_400)
    assert odd.price_usd_e8 == -(-(10 * 8_000 + 8_090) * USD // 11)
    assert (half.coverage_bps, half.covered_seconds) == (3_351, 7_260)
    assert low[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert "7260 of the window's 21661 seconds" in low[1]
    assert {code for code, _ in wrong} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert [text.partition(":")[0] for _, text in wrong] == ["end_time", "start_time", "start_time", "end_time"]


async def _everything(method: Any, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await method(request)
        found += getattr(page, field)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def test_lists_are_bounded_by_time_and_paged(database_url: str) -> None:
    """Rounds, observations and candles between two times come newest first, page by page, without gap or repeat."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.advance(1_800)
        bounds: dict[str, Any] = {
            "start_time": Timestamp(seconds=FIRST + 300),
            "end_time": Timestamp(seconds=FIRST + 900),
        }
        stub = oracle.stub
        rounds = await _everything(stub.ListRounds, pb.ListRoundsRequest(feed=BTC, page_size=3, **bounds), "prices")
        candles = await _everything(
            stub.ListCandles,
            pb.ListCandlesRequest(feed=BTC, span=pb.CANDLE_SPAN_FIVE_MINUTES, page_size=1, **bounds),
            "candles",
        )
        request = pb.ListObservationsRequest(feed=STX, page_size=7, **bounds)
        seen = await _everything(stub.ListObservations, request, "observations")
        token = (await stub.ListRounds(pb.ListRoundsRequest(feed=BTC, page_size=1))).next_page_token
        refused = [
            await _refusal(stub.ListCandles(pb.ListCandlesRequest(feed=BTC))),
            await _refusal(
                stub.ListCandles(pb.ListCandlesRequest(feed=BTC, span=pb.CANDLE_SPAN_ONE_MINUTE, page_token=token))
            ),
            await _refusal(stub.ListObservations(pb.ListObservationsRequest(feed=BTC, page_token=token))),
            await _refusal(stub.ListRounds(pb.ListRoundsRequest(feed=BTC, start_time=bounds["end_time"], **_end(60)))),
        ]
    expected = [FIRST + 900 - 60 * place for place in range(10)]
    assert [one.round for one in rounds] == expected
    assert [one.start_time.seconds for one in candles] == [FIRST + 600, FIRST + 300]
    assert {(one.round_count, one.covered_seconds) for one in candles} == {(5, 300)}
    assert [one.round for one in seen] == [number for number in expected for _ in range(5)]
    assert all(one.observation.used for one in seen)
    assert {code for code, _ in refused} == {grpc.StatusCode.INVALID_ARGUMENT}


def _end(seconds: int) -> dict[str, Any]:
    return {"end_time": Timestamp(seconds=FIRST + seconds)}


async def test_volatility_of_a_window_is_that_of_its_bars(database_url: str) -> None:
    """Daily windows come from the recorded days, hourly ones from our own candles, and are refused while they are too
    short; without a window the answer is the one that quotes are made from."""
    async with oracle_at(database_url, ReplayedPrices(DATA)) as oracle:
        usual = await oracle.stub.GetVolatility(pb.GetVolatilityRequest(feed=BTC))
        month = await oracle.stub.GetVolatility(_window(31, pb.CANDLE_SPAN_ONE_DAY, 86_400))
        early = await _refusal(oracle.stub.GetVolatility(_window(24, pb.CANDLE_SPAN_ONE_HOUR, 3_600)))
        for _ in range(8):
            await oracle.advance(10_800)
        day = await oracle.stub.GetVolatility(_window(24, pb.CANDLE_SPAN_ONE_HOUR, 3_600))
        candles = (
            await oracle.stub.ListCandles(pb.ListCandlesRequest(feed=BTC, span=pb.CANDLE_SPAN_ONE_HOUR, page_size=25))
        ).candles
        wrong = [
            await _refusal(oracle.stub.GetVolatility(request))
            for request in (
                _window(9, 0, 86_400),
                _window(1_001, 0, 86_400),
                _window(10, 0, 86_399),
                pb.GetVolatilityRequest(feed=BTC, window=Duration(seconds=864_000), time=Timestamp(seconds=FIRST)),
                pb.GetVolatilityRequest(feed=BTC, time=Timestamp(nanos=-1)),
            )
        ]
    assert month.window.bar_count == 31
    assert month.window.close_to_close == pytest.approx(usual.close_to_close_30d, rel=1e-12)
    assert month.as_of_time == usual.as_of_time
    assert early[0] is grpc.StatusCode.UNAVAILABLE
    assert day.window.bar_count == 24
    assert day.as_of_time.ToDatetime(dt.UTC) == START + dt.timedelta(days=1)
    assert len([one for one in candles if one.complete]) >= 24
    # The day on which BTC/USD fell by half.
    assert day.window.close_to_close > 2 * month.window.close_to_close
    assert {code for code, _ in wrong} == {grpc.StatusCode.INVALID_ARGUMENT}


def _window(bars: int, bar: int, seconds: int) -> pb.GetVolatilityRequest:
    return pb.GetVolatilityRequest(feed=BTC, window=Duration(seconds=bars * seconds), bar=pb.CandleSpan.ValueType(bar))

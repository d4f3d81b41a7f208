"""Rounds: aggregated at every boundary of market time, read, listed, watched, resumed."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument, ResourceExhausted, Unavailable
from kernel.rpc.channels import remote_errors
from services.oracle.convert import timestamp
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed
from services.oracle.feeds.replay.exchanges import ReplayedPrices
from services.oracle.watch import RoundWatch
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import (
    BTC,
    START,
    STX,
    USD,
    ScriptedPrices,
    eventually,
    oracle_at,
    running_oracle,
)

DATA = Path(__file__).resolve().parents[3] / "data"


async def test_a_price_comes_with_its_round_and_its_sources(database_url: str) -> None:
    """GetPrice answers the newest round; GetRound says what five simulated exchanges said, STX marked synthetic."""
    async with oracle_at(database_url, ReplayedPrices(DATA)) as oracle:
        btc, stx = await oracle.price(BTC), await oracle.price(STX)
        found = await oracle.stub.GetRound(pb.GetRoundRequest(feed=BTC, round=btc.round))
        await oracle.advance(60)
        unpublished = await oracle.stub.GetRound(pb.GetRoundRequest(feed=STX, round=stx.round + 60))
    assert btc.status == pb.PRICE_STATUS_OK
    assert 7_900 * USD < btc.price_usd_e8 < 7_940 * USD
    assert btc.round == int(START.timestamp())
    assert btc.burn_height == oracle.gateway.burn_height
    assert (btc.synthetic, stx.synthetic) == (False, True)
    assert len(found.observations) == 5
    assert all(one.used and one.simulated and one.source.startswith("simulated-") for one in found.observations)
    assert found.price == btc
    assert len(found.signed_round.signature) == len(unpublished.signed_round.signature) == 65


async def test_a_jump_of_market_time_is_made_up_for_round_by_round(database_url: str) -> None:
    """After a jump of half an hour there is a round at each minute, each with the burn height of its time."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.advance(1800)
        rows = await oracle.rows("SELECT round, burn_height FROM oracle.round WHERE feed = 1 ORDER BY round")
    first = int(START.timestamp())
    assert [row[0] for row in rows] == [first + 60 * index for index in range(31)]
    base = rows[0][1]
    assert [row[1] - base for row in rows] == [index // 10 for index in range(31)]


async def test_what_lies_too_far_back_is_not_made_up(database_url: str) -> None:
    """After a jump of a day only the last three hours are observed."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.advance(86_400)
        rows = await oracle.rows(
            f"SELECT min(round), count(*) FROM oracle.round WHERE feed = 1 AND round > {int(START.timestamp())}"
        )
    assert tuple(rows[0]) == (int(START.timestamp()) + 86_400 - 10_800, 181)


async def test_market_time_that_runs_leaves_no_round_out(database_url: str) -> None:
    """Over eight hours of market time, in steps of five minutes that nobody waits for, each minute has its round."""
    async with oracle_at(database_url, ReplayedPrices(DATA)) as oracle:
        for _ in range(4):
            for _ in range(24):
                await oracle.gateway.advance(300)
                await asyncio.sleep(0)
            await oracle.wait_for_round()
        counts = await oracle.rows("SELECT count(*) FROM oracle.round WHERE status = 'OK' GROUP BY feed")
    assert [row[0] for row in counts] == [481, 481]


async def test_an_old_price_is_never_a_current_one(database_url: str) -> None:
    """When no source speaks any more the price is UNAVAILABLE at once, without a figure."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(60)
        silent = await oracle.price()
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(60)
        weak = await oracle.price()
    assert (silent.status, silent.price_usd_e8) == (pb.PRICE_STATUS_UNAVAILABLE, 0)
    assert silent.reason.startswith("NO_SOURCES")
    assert (weak.status, weak.price_usd_e8) == (pb.PRICE_STATUS_DEGRADED, 8_000 * USD)
    assert weak.reason.startswith("TOO_FEW_SOURCES: 2")


async def test_rounds_are_listed_page_by_page(database_url: str) -> None:
    """Pages are newest first, without gap or repeat; a token of another feed or made up is refused."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.advance(600)
        numbers, token = [], ""
        while True:
            page = await oracle.stub.ListRounds(pb.ListRoundsRequest(feed=BTC, page_size=4, page_token=token))
            numbers += [price.round for price in page.prices]
            last, token = token, page.next_page_token
            if not token:
                break
        for feed, bad in ((STX, last), (BTC, "!"), (BTC, "MTp4")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await oracle.stub.ListRounds(pb.ListRoundsRequest(feed=feed, page_token=bad))
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    newest = int(START.timestamp()) + 600
    assert numbers == [newest - 60 * index for index in range(11)]


async def test_a_watch_is_a_snapshot_then_every_change_and_resumes(database_url: str) -> None:
    """A watch starts with the latest round, brings each new one, and resumes after a token without a gap."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        call = oracle.stub.WatchPrice(pb.WatchPriceRequest(feed=BTC))
        first = await call.read()
        await oracle.advance(180)
        following = [await call.read() for _ in range(3)]
        call.cancel()
        await oracle.advance(120)
        resumed = oracle.stub.WatchPrice(pb.WatchPriceRequest(feed=BTC, resume_token=following[0].resume_token))
        later = [await resumed.read() for _ in range(4)]
        resumed.cancel()
    start = int(START.timestamp())
    assert first.price.round == start
    assert [one.price.round for one in following] == [start + 60, start + 120, start + 180]
    assert [one.price.round for one in later] == [start + 120, start + 180, start + 240, start + 300]


async def test_a_restart_resumes_where_the_last_replica_stopped(database_url: str) -> None:
    """A second process continues with the next round; two at once never make a round twice."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    source = ScriptedPrices()
    async with running_oracle(database_url, gateway, address, source) as oracle:
        await oracle.wait_for_round()
    await gateway.advance(300)
    async with (
        running_oracle(database_url, gateway, address, source) as one,
        running_oracle(database_url, gateway, address, source) as two,
    ):
        await one.wait_for_round()
        await one.advance(300)
        rows = await two.rows("SELECT round FROM oracle.round WHERE feed = 2 ORDER BY round")
        price = await two.price(STX)
    await server.stop(None)
    assert [row[0] for row in rows] == [int(START.timestamp()) + 60 * index for index in range(11)]
    assert price.round == rows[-1][0]


async def test_the_gateway_may_come_later_and_go_away(database_url: str) -> None:
    """Without a gateway the oracle serves UNAVAILABLE; once it is there rounds are made."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    await server.stop(None)
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        nothing = await oracle.price()
        server, _ = await serve_gateway(gateway, address)
        await oracle.wait_for_round()
        await server.stop(None)
        server, _ = await serve_gateway(gateway, address)
        await gateway.advance(60)

        async def again() -> bool:
            return (await oracle.price()).round == int(START.timestamp()) + 60

        await eventually(again)
        await server.stop(None)
    assert (nothing.status, nothing.round) == (pb.PRICE_STATUS_UNAVAILABLE, 0)


async def test_the_first_round_after_a_time_is_the_same_whenever_it_is_asked_for(database_url: str) -> None:
    """OK, and made of later observations alone; before there is one UNAVAILABLE, without a time INVALID_ARGUMENT."""
    prices = ScriptedPrices()
    async with oracle_at(database_url, prices) as oracle:
        await oracle.wait_for_round()
        first = await oracle.price()
        prices.sources[Feed.BTC_USD] = 1
        await oracle.advance(60)
        prices.sources[Feed.BTC_USD] = 5
        asked = pb.GetRoundAfterRequest(feed=BTC, time=first.observe_time)
        with pytest.raises(Unavailable) as early, remote_errors():
            await oracle.stub.GetRoundAfter(asked)
        await oracle.advance(60)
        found = (await oracle.stub.GetRoundAfter(asked)).price
        await oracle.advance(120)
        again = (await oracle.stub.GetRoundAfter(asked)).price
        for wrong in (pb.GetRoundAfterRequest(feed=BTC), pb.GetRoundAfterRequest(feed=BTC, time=Timestamp(nanos=-1))):
            with pytest.raises(InvalidArgument), remote_errors():
                await oracle.stub.GetRoundAfter(wrong)
    assert early.value.reason == "NO_ROUND_YET"
    assert (found.round, found.status, again) == (first.round + 120, pb.PRICE_STATUS_OK, found)


async def test_volatility_knows_only_the_past(database_url: str) -> None:
    """On the day of the crash volatility is that of the days before it; the next day it has risen."""
    async with oracle_at(database_url, ReplayedPrices(DATA)) as oracle:
        before = await oracle.stub.GetVolatility(pb.GetVolatilityRequest(feed=BTC))
        await oracle.advance(86_400)
        after = await oracle.stub.GetVolatility(pb.GetVolatilityRequest(feed=BTC))
    assert before.as_of_time.ToDatetime(dt.UTC) == dt.datetime(2020, 3, 12, tzinfo=dt.UTC)
    assert max(before.ewma, before.close_to_close_30d) < 0.8 < 1.5 < min(after.ewma, after.close_to_close_30d)
    assert "over 30 and 70 days" in before.source


class RevisedPrices(ReplayedPrices):
    """Recorded prices, of whose days the closes are told otherwise once it is `revised`."""

    revised = False

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """Every second day lower then."""
        return [
            replace(bar, close_usd_e8=bar.close_usd_e8 // (1 + self.revised * (number % 2)))
            for number, bar in enumerate(super().daily_bars(feed))
        ]


async def test_the_volatility_of_a_day_stays(database_url: str) -> None:
    """Asked for by a time of it, a day's estimate is what it was then, whatever the source tells of the past later and
    whatever has happened since; of a day without a round it is made anew, and of a time to come there is none."""
    prices = RevisedPrices(DATA)
    async with oracle_at(database_url, prices) as oracle:

        async def of(time: dt.datetime | None) -> pb.GetVolatilityResponse:
            request = pb.GetVolatilityRequest(feed=BTC, time=None if time is None else timestamp(time))
            answer: pb.GetVolatilityResponse = await oracle.stub.GetVolatility(request)
            return answer

        first = await oracle.price()
        then = await of(None)
        prices.revised = True
        await oracle.advance(86_400)
        later = await of(first.observe_time.ToDatetime(dt.UTC))
        now, before = await of(None), await of(START - dt.timedelta(days=1))
        with pytest.raises(Unavailable) as early, remote_errors():
            await of(oracle.gateway.market_time + dt.timedelta(seconds=1))
    assert later == then
    assert now.ewma > then.ewma
    assert before.as_of_time.ToDatetime(dt.UTC) == dt.datetime(2020, 3, 11, tzinfo=dt.UTC)
    assert early.value.reason == "NOT_YET"


async def test_a_slow_reader_is_cut_off_and_may_resume(database_url: str) -> None:
    """A watcher that stops reading for more than a thousand rounds gets RESOURCE_EXHAUSTED instead of a gap; it
    resumes after its last round and gets every one that it has missed. One that reads on is not concerned."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        watch = RoundWatch(oracle.database)
        reader = asyncio.ensure_future(watch.run())
        slow, quick = watch.watch(Feed.BTC_USD, None), watch.watch(Feed.BTC_USD, None)
        numbers = [(await anext(slow)).round]
        kept_up = [(await anext(quick)).round]
        for _ in range(8):
            await oracle.advance(10_800)
            kept_up += [(await anext(quick)).round for _ in range(180)]
        with pytest.raises(ResourceExhausted):
            await anext(slow)
        resumed = watch.watch(Feed.BTC_USD, numbers[-1])
        numbers += [(await anext(resumed)).round for _ in range(1440)]
        await resumed.aclose()
        reader.cancel()
    assert numbers == kept_up == [int(START.timestamp()) + 60 * index for index in range(1441)]


async def test_a_watch_continues_over_a_restart_without_gap_or_repeat(database_url: str) -> None:
    """A reader that takes its token to the next process, after rounds that it never saw, gets each round once."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    numbers: list[int] = []
    token = ""
    for _ in range(3):
        async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
            await oracle.wait_for_round()
            call = oracle.stub.WatchPrice(pb.WatchPriceRequest(feed=BTC, resume_token=token))
            await gateway.advance(120)
            while not numbers or numbers[-1] < int(gateway.market_time.timestamp()):
                answer = await call.read()
                numbers.append(answer.price.round)
                token = answer.resume_token
            call.cancel()
            # These come while nobody reads.
            await oracle.advance(180)
    await server.stop(None)
    assert numbers == [int(START.timestamp()) + 60 * index for index in range(13)]

"""Tip, events, reads: what other services know of the chain."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2
from sqlmodel import col, func, select

from services.chain_gateway.stacks.clarity import StringAscii, UInt
from services.chain_gateway.tables import Block
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World, running_gateway


async def test_the_tip_carries_the_devnets_market_time(world: World, gateway: RunningGateway) -> None:
    """Market time and burn height of the tip are those of the devnet's clock after it jumped."""
    clock = await world.devnet.advance(1_300)
    tip = await gateway.tip(burn_height=clock.burn_height)
    async with asyncio.timeout(60):
        while abs(tip.market_time.ToNanoseconds() / 1e9 - clock.market_time) > 0.001:
            tip = await gateway.tip(burn_height=clock.burn_height)
    assert (tip.network, tip.chain_id) == ("testnet", 0x80000000)
    assert tip.final_burn_height == tip.burn_height - 1


async def test_final_events_come_when_a_burn_block_lies_on_top(world: World, gateway: RunningGateway) -> None:
    """A published price is told at the tip at once, and as final only after the next burn block."""
    intent = await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_000 * USD)
    tip_pages = await gateway.events(
        pb.EVENT_FINALITY_TIP, lambda pages: any(e.HasField("price_published") for p in pages for e in p.events)
    )
    event = next(e for p in tip_pages for e in p.events if e.HasField("price_published"))
    assert event.price_published.round.price_usd_e8 == 50_000 * USD
    assert event.backend_fee_ustx == intent.transactions[0].fee_ustx > 0
    final = await gateway.events(pb.EVENT_FINALITY_FINAL, lambda pages: True)
    assert event.sequence not in [e.sequence for e in final[0].events]
    await world.devnet.mine_burn_blocks(1)
    more = await gateway.events(
        pb.EVENT_FINALITY_FINAL, lambda pages: any(p.events for p in pages), cursor=final[-1].cursor
    )
    assert event.sequence in [e.sequence for e in more[-1].events]
    assert more[-1].delivered_burn_height >= event.burn_height


async def test_a_resumed_stream_has_no_loss_and_no_duplicate(world: World, gateway: RunningGateway) -> None:
    """Reading one response at a time from its cursor gives the same events as one long stream."""
    for price in range(50_010, 50_014):
        await gateway.publish(world, price_pb2.FEED_BTC_USD, price * USD)
    latest = (await gateway.stub.GetSyncState(pb.GetSyncStateRequest(), metadata=SERVICE)).latest_sequence
    whole = await gateway.events(
        pb.EVENT_FINALITY_TIP, lambda pages: any(e.sequence == latest for p in pages for e in p.events)
    )
    expected = [e.sequence for p in whole for e in p.events]
    cursor, seen = "", list[int]()
    while latest not in seen:
        page = (await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: True, cursor=cursor))[0]
        cursor = page.cursor
        seen.extend(e.sequence for e in page.events)
    assert seen == expected == sorted(set(expected))


async def test_a_second_gateway_tells_the_same_events(world: World, gateway: RunningGateway) -> None:
    """A stop and a new start on the same database continue where it was: the same sequences."""
    settings = world.settings(gateway.gateway.database.url)
    await gateway.publish(world, price_pb2.FEED_STX_USD, USD)
    latest = (await gateway.stub.GetSyncState(pb.GetSyncStateRequest(), metadata=SERVICE)).latest_sequence
    async with running_gateway(settings) as other:
        await other.tip()
        pages = await other.events(
            pb.EVENT_FINALITY_TIP, lambda pages: any(e.sequence == latest for p in pages for e in p.events)
        )
        mine = await gateway.events(
            pb.EVENT_FINALITY_TIP, lambda pages: any(e.sequence == latest for p in pages for e in p.events)
        )
    assert [e for p in pages for e in p.events] == [e for p in mine for e in p.events]


@pytest.mark.parametrize("cursor", ["x", "v1.f.3", "v1.t.-1", "v1.t.01"])
async def test_a_wrong_cursor_is_refused(gateway: RunningGateway, cursor: str) -> None:
    """What is not a cursor of this stream is INVALID_ARGUMENT, not a silent start from the beginning."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.events(pb.EVENT_FINALITY_TIP, lambda pages: True, cursor=cursor)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_parameters_follow_their_events(world: World, gateway: RunningGateway) -> None:
    """A parameter that the admin sets is answered once its event is ingested; pauses too."""
    before = await gateway.stub.ListParameters(pb.ListParametersRequest())
    values = {one.name: one.value for one in before.parameters}
    assert (values["quote.valid-blocks"], values["balanced.loading-bps"], len(values)) == (6, 1500, 51)
    assert list(before.paused) == []
    assert await world.admin("parameter", "set-parameter", StringAscii("policy.fee-bps"), UInt(60)) == "success"
    assert await world.admin("parameter", "pause", StringAscii("deposits")) == "success"
    async with asyncio.timeout(60):
        while not (after := await gateway.stub.ListParameters(pb.ListParametersRequest())).paused:
            await asyncio.sleep(0.02)
    assert {one.name: one.value for one in after.parameters}["policy.fee-bps"] == 60
    assert list(after.paused) == ["deposits"]
    assert await world.admin("parameter", "unpause", StringAscii("deposits")) == "success"


async def test_burn_blocks_by_height_and_time(world: World, gateway: RunningGateway) -> None:
    """The block at or before a time is found for times at, between and beyond blocks; before the first: NOT_FOUND."""
    clock = await world.devnet.mine_burn_blocks(40)
    await gateway.tip(burn_height=clock.burn_height)
    first = await gateway.stub.GetBurnBlock(pb.GetBurnBlockRequest(burn_height=1), metadata=SERVICE)
    genesis = first.burn_block_time.seconds
    for height in (1, 2, 17, clock.burn_height):
        for extra in (0, 1, 599):
            request = pb.GetBurnBlockRequest()
            request.at_or_before_time.FromSeconds(genesis + 600 * (height - 1) + extra)
            found = await gateway.stub.GetBurnBlock(request, metadata=SERVICE)
            assert found.burn_height == height
    request = pb.GetBurnBlockRequest()
    request.at_or_before_time.FromSeconds(genesis - 1)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.GetBurnBlock(request, metadata=SERVICE)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_published_price_is_the_latest_round(world: World, gateway: RunningGateway) -> None:
    """GetPublishedPrice answers what the contract holds."""
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_100 * USD)
    async with asyncio.timeout(60):
        while True:
            answer = await gateway.stub.GetPublishedPrice(pb.GetPublishedPriceRequest(feed=price_pb2.FEED_BTC_USD))
            if answer.round.price_usd_e8 == 50_100 * USD:
                break
            await asyncio.sleep(0.02)
    assert answer.round.round == world.rounds[price_pb2.FEED_BTC_USD]


async def test_thousands_of_blocks_are_caught_up_without_a_gap(world: World, database_url: str) -> None:
    """A jump of two thousand burn blocks is ingested many blocks at a time, each of them once."""
    clock = await world.devnet.mine_burn_blocks(2_000)
    async with running_gateway(world.settings(database_url)) as running:
        tip = await running.tip(clock.burn_height)
        async with running.gateway.database.transaction() as session:
            count = (await session.exec(select(func.count()).select_from(Block).where(col(Block.canonical)))).one()
    assert count == tip.stacks_height

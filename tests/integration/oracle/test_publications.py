"""Publications: when a round goes on chain, one in flight per feed, no round twice, signed as the contract checks."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from coincurve import PublicKey

from kernel.rpc.caller import Role
from services.chain_gateway.stacks.clarity import StringAscii, TupleValue, UInt, parse_principal
from services.chain_gateway.stacks.messages import recover_structured, structured_domain
from services.oracle.domain.prices import Feed
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import (
    BTC,
    CHAIN_ID,
    DEPLOYER,
    START,
    STX,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    oracle_at,
    running_oracle,
)
from tests.tokens import metadata

FIRST = int(START.timestamp())


async def _publication(oracle: Oracle, number: int) -> pb.GetPublicationResponse:
    request = pb.GetPublicationRequest(feed=BTC, round=number)
    answer: pb.GetPublicationResponse = await oracle.stub.GetPublication(request, metadata=WORKFLOWS)
    return answer


async def _ensure(oracle: Oracle, burn_height: int) -> pb.EnsurePublishedRoundsResponse:
    request = pb.EnsurePublishedRoundsRequest(burn_height=burn_height)
    answer: pb.EnsurePublishedRoundsResponse = await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
    return answer


async def _ensure_refused(oracle: Oracle, burn_height: int) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _ensure(oracle, burn_height)
    return refused.value.code()


async def test_the_first_round_is_published_and_signed_by_the_oracle_key(database_url: str) -> None:
    """The first OK round of each feed starts a workflow; the round it gets recovers to the oracle's key, by the
    gateway's codec and by coincurve alone."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        assert await oracle.wait_for_start(BTC, 1) == [FIRST]
        assert await oracle.wait_for_start(STX, 1) == [FIRST]
        signed = (await _publication(oracle, FIRST)).signed_round
    domain = structured_domain("bithedge-price-round", CHAIN_ID, parse_principal(f"{DEPLOYER}.oracle"))
    message = TupleValue(
        {
            "feed": StringAscii("BTC/USD"),
            "round": UInt(FIRST),
            "price-e8": UInt(8_000 * USD),
            "confidence-e8": UInt(0),
            "observed-at": UInt(FIRST - 2),
            "burn-height": UInt(oracle.gateway.burn_height),
        }
    )
    assert recover_structured(domain, message, signed.signature) == oracle.public_key
    fields = {"round": FIRST, "price-e8": 8_000 * USD, "confidence-e8": 0, "observed-at": FIRST - 2}
    fields["burn-height"] = signed.burn_height
    digest = oracle.signer.digest("bithedge-price-round", {"feed": "BTC/USD", **fields})
    key = PublicKey.from_signature_and_message(signed.signature, digest, hasher=None)
    assert key.format() == oracle.public_key
    assert (signed.price_usd_e8, signed.observe_time.seconds) == (8_000 * USD, FIRST - 2)


async def test_one_publication_is_in_flight_per_feed(database_url: str) -> None:
    """While one is pending nothing else is published, however far the price moves; its end frees the slot, and the
    newest round is taken at once."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        await oracle.wait_for_start(BTC, 1)
        source.prices[Feed.BTC_USD] = 7_000 * USD
        await oracle.advance(1200)
        assert await oracle.wait_for_start(BTC, 1) == [FIRST]
        await oracle.record(BTC, FIRST, pb.PUBLICATION_OUTCOME_REFUSED)
        assert await oracle.wait_for_start(BTC, 2) == [FIRST, FIRST + 1200]
        assert await oracle.wait_for_start(STX, 1) == [FIRST]


async def test_half_a_percent_or_ten_minutes_publish(database_url: str) -> None:
    """0.49% within ten minutes publishes nothing, 0.5% at once, and a still price after ten minutes."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        await oracle.wait_for_start(BTC, 1)
        await oracle.confirm(BTC, FIRST)
        source.prices[Feed.BTC_USD] = 8_039_20000000
        await oracle.advance(60)
        source.prices[Feed.BTC_USD] = 8_040 * USD
        await oracle.advance(60)
        assert await oracle.wait_for_start(BTC, 2) == [FIRST, FIRST + 120]
        await oracle.confirm(BTC, FIRST + 120)
        for _ in range(11):
            await oracle.advance(60)
        assert await oracle.wait_for_start(BTC, 3) == [FIRST, FIRST + 120, FIRST + 720]


async def test_only_ok_rounds_are_published(database_url: str) -> None:
    """A degraded price is not published, not even after the heartbeat; the next OK one is."""
    source = ScriptedPrices()
    source.sources[Feed.BTC_USD] = 2
    async with oracle_at(database_url, source) as oracle:
        await oracle.wait_for_start(STX, 1)
        await oracle.advance(1200)
        assert await oracle.wait_for_start(BTC, 0) == []
        source.sources[Feed.BTC_USD] = 3
        await oracle.advance(60)
        assert await oracle.wait_for_start(BTC, 1) == [FIRST + 1260]


async def test_after_an_outage_the_newest_round_alone_is_published(database_url: str) -> None:
    """Of three missed hours every round is made up for and one goes on chain, the newest; what another replica had in
    flight before the outage ends late and starts nothing old."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        await oracle.wait_for_start(BTC, 1)
        await oracle.confirm(BTC, FIRST)
        await oracle.wait_for_start(STX, 1)
    await gateway.advance(10_800)
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        await oracle.wait_for_round()
        await oracle.confirm(STX, FIRST)
        assert await oracle.wait_for_start(BTC, 2) == [FIRST, FIRST + 10_800]
        assert await oracle.wait_for_start(STX, 2) == [FIRST, FIRST + 10_800]
        for feed in (BTC, STX):
            await oracle.confirm(feed, FIRST + 10_800)
        await oracle.advance(60)
        made = await oracle.rows("SELECT count(*) FROM oracle.round GROUP BY feed")
        published = await oracle.started()
    await server.stop(None)
    assert [row[0] for row in made] == [182, 182]
    assert len(published) == 4


async def test_the_end_of_a_publication_is_recorded_once(database_url: str) -> None:
    """The same end again is fine; another one is FAILED_PRECONDITION; an unknown round is NOT_FOUND; only services
    may record, and the round of a publication shows its signature."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.wait_for_start(BTC, 1)
        await oracle.confirm(BTC, FIRST)
        await oracle.confirm(BTC, FIRST)
        found = await oracle.stub.GetRound(pb.GetRoundRequest(feed=BTC, round=FIRST))
        codes = []
        for number, outcome in ((FIRST, pb.PUBLICATION_OUTCOME_REFUSED), (5, pb.PUBLICATION_OUTCOME_CONFIRMED)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await oracle.record(BTC, number, outcome)
            codes.append(refused.value.code())
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await oracle.stub.RecordPublication(
                pb.RecordPublicationRequest(feed=BTC, round=FIRST), metadata=metadata("ST1", Role.HOLDER)
            )
    assert codes == [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND]
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert len(found.signed_round.signature) == 65


async def test_a_round_near_a_height_is_published_on_request(database_url: str) -> None:
    """EnsurePublishedRounds starts what is missing, is UNAVAILABLE until it is confirmed, then names the rounds; a
    confirmed one within two blocks is enough; years later nothing near is left."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        height = oracle.gateway.burn_height
        assert await _ensure_refused(oracle, height) is grpc.StatusCode.UNAVAILABLE
        assert await _ensure_refused(oracle, (1 << 63) - 1) is grpc.StatusCode.INVALID_ARGUMENT
        for feed in (BTC, STX):
            await oracle.confirm(feed, FIRST)
        near = [await _ensure(oracle, height + offset) for offset in (-2, 0, 2)]
        assert [(one.btc_round, one.stx_round) for one in near] == [(FIRST, FIRST)] * 3
        await oracle.advance(7200)
        newest = await oracle.wait_for_start(BTC, 2)
        await oracle.wait_for_start(STX, 2)
        for feed in (BTC, STX):
            await oracle.record(feed, newest[-1], pb.PUBLICATION_OUTCOME_CONFIRMED)
        assert await _ensure_refused(oracle, height + 6) is grpc.StatusCode.UNAVAILABLE
        older = (await oracle.wait_for_start(BTC, 3))[-1]
        assert older == FIRST + 7 * 600 - 60
        for feed in (BTC, STX):
            await oracle.confirm(feed, older)
        answer = await _ensure(oracle, height + 6)
        assert (answer.btc_round, answer.stx_round) == (older, older)
        assert await _ensure_refused(oracle, height - 20) is grpc.StatusCode.FAILED_PRECONDITION
        assert await _ensure_refused(oracle, height + 100) is grpc.StatusCode.UNAVAILABLE


async def test_many_requests_at_once_start_one_publication(database_url: str) -> None:
    """Twenty concurrent requests for a height leave one publication of each feed."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        for feed in (BTC, STX):
            await oracle.wait_for_start(feed, 1)
            await oracle.record(feed, FIRST, pb.PUBLICATION_OUTCOME_REFUSED)
        await oracle.gateway.advance(50)
        await oracle.advance(10)
        height = oracle.gateway.burn_height
        codes = await asyncio.gather(*(_ensure_refused(oracle, height) for _ in range(20)))
        started = await oracle.started()
    assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
    assert sorted(started) == [(1, FIRST), (1, FIRST + 60), (2, FIRST), (2, FIRST + 60)]


async def test_a_decided_round_is_signed_after_a_crash(database_url: str) -> None:
    """A publication that a replica stored and never signed is signed and started by the next one, once."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        await oracle.wait_for_start(BTC, 1)
        await oracle.wait_for_start(STX, 1)
        signed = (await _publication(oracle, FIRST)).signed_round.signature
        async with oracle.database.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE oracle.publication SET signature = NULL WHERE feed = 1")
            await connection.exec_driver_sql("DELETE FROM oracle.outbox")
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        assert await oracle.wait_for_start(BTC, 1) == [FIRST]
        again = (await _publication(oracle, FIRST)).signed_round.signature
        assert await oracle.started() == [(1, FIRST)]
    await server.stop(None)
    assert again == signed


async def test_in_a_crash_the_round_beside_a_receipt_agrees_with_it(database_url: str) -> None:
    """When the confirmed round near the height is 10% off the receipt, the one that agrees is published and named."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        for feed in (BTC, STX):
            await oracle.wait_for_start(feed, 1)
        # Each jump is believed in its third round.
        source.prices[Feed.BTC_USD] = 7_200 * USD
        await oracle.advance(180)
        source.prices[Feed.BTC_USD] = 7_900 * USD
        await oracle.advance(180)
        for feed in (BTC, STX):
            await oracle.confirm(feed, FIRST)
        assert await oracle.wait_for_start(BTC, 2) == [FIRST, FIRST + 360]
        await oracle.confirm(BTC, FIRST + 360)
        request = pb.EnsurePublishedRoundsRequest(
            burn_height=oracle.gateway.burn_height, btc_price_usd_e8=7_200 * USD, stx_price_usd_e8=USD // 4
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
        assert set(await oracle.wait_for_start(BTC, 3)) == {FIRST, FIRST + 180, FIRST + 360}
        await oracle.confirm(BTC, FIRST + 180)
        answer = await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (answer.btc_round, answer.stx_round) == (FIRST + 180, FIRST)


async def test_a_policy_in_sbtc_needs_no_stx_round(database_url: str) -> None:
    """Where no STX/USD round near the height is left, a caller who names no STX price is answered without one; a
    caller who names one is refused."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        for feed in (BTC, STX):
            await oracle.wait_for_start(feed, 1)
        source.sources[Feed.STX_USD] = 0
        await oracle.advance(10_200)
        for feed in (BTC, STX):
            await oracle.confirm(feed, FIRST)
        due = (await oracle.wait_for_start(BTC, 2))[-1]
        await oracle.confirm(BTC, due)
        request = pb.EnsurePublishedRoundsRequest(burn_height=oracle.gateway.burn_height - 8)
        with pytest.raises(grpc.aio.AioRpcError):
            await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
        number = next(one for one in await oracle.wait_for_start(BTC, 3) if one not in (FIRST, due))
        await oracle.confirm(BTC, number)
        answer = await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
        request.stx_price_usd_e8 = USD // 4
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await oracle.stub.EnsurePublishedRounds(request, metadata=WORKFLOWS)
    assert (answer.btc_round, answer.stx_round) == (number, 0)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION

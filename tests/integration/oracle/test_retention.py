"""What is removed after a time, and what never is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from kernel.database import Database, migrate
from kernel.lease import LeaderLease
from kernel.rpc.channels import open_channel
from kernel.rpc.tip import TipFollower
from services.oracle import store, store_receipts, store_retention, tables
from services.oracle import store_publications as publications
from services.oracle.__main__ import MIGRATIONS
from services.oracle.domain.prices import (
    Feed,
    JudgedObservation,
    Observation,
    Price,
    PriceStatus,
    Rejection,
    Round,
    boundary_time,
)
from services.oracle.domain.publication import PublicationCause, PublicationState
from services.oracle.retention import Retention
from services.oracle.signing import ContractAddress
from services.oracle.store_receipts import activation_purpose, expiry_purpose
from services.oracle.tables import ReceiptRow
from services.oracle.verify import Pinned, verify
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import (
    BTC,
    CHAIN_ID,
    DEPLOYER,
    START,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    StaticTokens,
    eventually,
    running_oracle,
)

FIRST = int(START.timestamp())
POLICY = "0190" * 8


@asynccontextmanager
async def _removing(oracle: Oracle, address: str, days: int) -> AsyncIterator[None]:
    """The background task beside a running oracle."""
    channel = open_channel(address, StaticTokens())
    tip = TipFollower(channel)
    lease = LeaderLease(oracle.database, tables.Lease, "retention")
    tasks = [asyncio.ensure_future(work()) for work in (tip.follow, Retention(oracle.database, lease, tip, days).run)]
    try:
        async with asyncio.timeout(60):
            await tip.changed(20)
        yield
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await channel.close()


async def _make_receipts(oracle: Oracle, height: int) -> None:
    request = pb.CreateActivationReceiptRequest(
        policy=f"policies/{POLICY}",
        activation_number=1,
        request_burn_height=height,
        strike_price_usd_e8=8_500 * USD,
        floor_price_usd_e8=4_000 * USD,
        protected_amount_sats=10_000_000,
        settlement_token=money_pb2.TOKEN_SBTC,
    )
    request.request_market_time.FromDatetime(START + dt.timedelta(seconds=10_019))
    await oracle.stub.CreateActivationReceipt(request, metadata=WORKFLOWS)
    expiry = pb.CreateExpiryReceiptRequest(expiration_burn_height=height)
    await oracle.stub.CreateExpiryReceipt(expiry, metadata=WORKFLOWS)


async def test_what_money_was_decided_on_can_be_checked_after_everything_else_is_gone(database_url: str) -> None:
    """Two days later the old observations are gone, the rounds and candles are all there, and both receipts and the
    published round still show everything that they were made from."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    async with running_oracle(database_url, gateway, address, ScriptedPrices()) as oracle:
        await oracle.wait_for_start(BTC, 1)
        await oracle.advance(10_200)
        height = gateway.burn_height
        await _make_receipts(oracle, height)
        before = await oracle.rows("SELECT count(*) FROM oracle.round UNION ALL SELECT count(*) FROM oracle.candle")
        await oracle.gateway.advance(2 * 86_400)

        async def removed() -> bool:
            rows = await oracle.rows("SELECT min(cursor::bigint), count(*) FROM oracle.cursor WHERE stream LIKE 'obs%'")
            return tuple(rows[0]) == (FIRST + 10_200, 2)

        async with _removing(oracle, address, 1):
            await eventually(removed)
        old = f"round <= {FIRST + 10_200}"
        kept = {row[0] for row in await oracle.rows(f"SELECT DISTINCT round FROM oracle.observation WHERE {old}")}
        after = await oracle.rows(
            f"SELECT count(*) FROM oracle.round WHERE {old}"
            f" UNION ALL SELECT count(*) FROM oracle.candle WHERE last_{old}"
        )
        deployer = ContractAddress(DEPLOYER, "testnet")
        pinned = Pinned(oracle.public_key.hex(), "testnet", CHAIN_ID, deployer, 60)
        for purpose in (
            pb.GetReceiptRequest(
                activation=price_pb2.ActivationPurpose(policy=f"policies/{POLICY}", activation_number=1)
            ),
            pb.GetReceiptRequest(expiry=price_pb2.ExpiryPurpose(expiration_burn_height=height)),
        ):
            assert verify(await oracle.stub.GetReceipt(purpose), pinned)
    await server.stop(None)
    assert FIRST in kept
    assert FIRST + 60 not in kept
    assert len(kept) < 171
    assert after[0] == before[0]
    assert after[1][0] >= before[1][0] - 4


async def test_only_what_nothing_refers_to_is_removed(database_url: str) -> None:
    """Of 400 rounds with random publications and receipts, in steps of random length, exactly those observations go
    that no publication and no receipt's span refers to; a second pass removes nothing."""
    await migrate(database_url, "oracle", MIGRATIONS)
    database, chance = Database(database_url), random.Random(4)
    numbers = [FIRST + 60 * place for place in range(400)]
    async with database.transaction() as session:
        await store.insert_rounds(session, [_round(number) for number in numbers])
        published = set(chance.sample(numbers, 20))
        for number in sorted(published):
            await publications.insert_publication(session, _round(number).price, PublicationCause.REQUESTED)
            row = await publications.pending_publication(session, Feed.BTC_USD)
            assert row is not None
            row.state = str(PublicationState.CONFIRMED)
            await session.flush()
        spans = [await _receipt(session, kind, chance.choice(numbers[150:380])) for kind in range(6)]
    removed, place = 0, 0
    for again in (False, True):
        place = 0 if again else place
        while place < len(numbers):
            step = numbers[place : place + chance.randint(1, 90)]
            async with database.transaction() as session:
                removed += await store_retention.remove_observations(session, Feed.BTC_USD, step[0] - 1, step[-1])
            place += len(step)
    expected = published | {n for n in numbers if any(first <= n <= last for first, last in spans)}
    async with database.transaction() as session:
        left = {one for one in numbers if (await store.rounds_of(session, Feed.BTC_USD, [one]))[0].observations}
        assert await store_retention.passed(session, Feed.BTC_USD) == numbers[-1]
    await database.close()
    assert left == expected
    assert removed == 2 * (400 - len(expected))


def _round(number: int) -> Round:
    time = boundary_time(number)
    seen = [
        JudgedObservation(Observation("one", USD, time), None, 1_000_000),
        JudgedObservation(Observation("two", 9 * USD, time), Rejection.OUTLIER),
    ]
    return Round(Price(Feed.BTC_USD, number, PriceStatus.OK, "", USD, 0, time, time, 2_000, False), seen)


async def _receipt(session: object, kind: int, number: int) -> tuple[int, int]:
    """Stores a receipt; the span of rounds that it needs."""
    activation = kind % 2 == 0
    requested = number - 60 * 5 - 7
    row = ReceiptRow(
        purpose=activation_purpose(f"{kind:032x}", 1) if activation else expiry_purpose(number),
        policy_id=f"{kind:032x}" if activation else None,
        activation_number=1 if activation else None,
        strike_price_usd_e8=1 if activation else None,
        request_market_time=boundary_time(requested) if activation else None,
        in_the_money=False if activation else None,
        btc_price_usd_e8=1,
        stx_price_usd_e8=1,
        observe_seconds=number,
        burn_height=number,
        btc_rounds=[number] if activation else [number - 1_740 + 60 * place for place in range(30)],
        stx_rounds=[number],
        signature=bytes(65),
    )
    await store_receipts.insert_receipt(session, row)  # type: ignore[arg-type]
    return number - 7_200, number + 1_800

"""The oracle service in this process: real Postgres, real gRPC sockets, a stand-in gateway, prices from a script or
from the recorded days."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import sqlalchemy as sa
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api
from bithedge.type.v1 import price_pb2

from kernel.database import Database, migrate
from kernel.lease import LeaderLease
from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, start_server
from kernel.rpc.tip import TipFollower
from kernel.rpc.tokens import ServiceTokens
from services.oracle import tables
from services.oracle.__main__ import MIGRATIONS, oracle_service
from services.oracle.answers import PriceAnswers
from services.oracle.burn_blocks import BurnBlocks
from services.oracle.chain_requests import ChainRequests
from services.oracle.domain.aggregation import AggregationRules
from services.oracle.domain.breaker import BreakerRules
from services.oracle.domain.freshness import FreshnessRules
from services.oracle.domain.history import DailyBar
from services.oracle.domain.override import OverrideRules
from services.oracle.domain.prices import Feed, Observation
from services.oracle.domain.publication import PublicationRules
from services.oracle.feeds import PriceSource
from services.oracle.history import PriceHistory
from services.oracle.observer import ObservationRules, Observer
from services.oracle.publisher import Publisher
from services.oracle.receipts import Receipts
from services.oracle.servicer import OracleServicer
from services.oracle.signing import ContractAddress, OracleSigner
from services.oracle.watch import RoundWatch
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.tokens import TestTokens, service_metadata

USD: Final = 100_000_000
DEPLOYER: Final = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
CHAIN_ID: Final = 0x80000000
KEY: Final = hashlib.sha256(b"oracle").digest()
START: Final = dt.datetime(2020, 3, 12, 6, tzinfo=dt.UTC)
WORKFLOWS: Final = service_metadata("workflows")
BTC: Final = price_pb2.FEED_BTC_USD
STX: Final = price_pb2.FEED_STX_USD
SOURCES: Final = ("one", "two", "three", "four", "five")


class StaticTokens(ServiceTokens):
    """Our own token without an identity service."""

    def __init__(self) -> None:
        """Needs nothing."""

    async def token(self) -> str:
        """A token that `TestTokens` believes."""
        return f"service:oracle|{Role.SERVICE.name}"


@dataclass
class ScriptedPrices:
    """Five sources that all say what the test sets, `lag` seconds late; only the first `sources` of them speak."""

    prices: dict[Feed, int] = field(default_factory=lambda: {Feed.BTC_USD: 8_000 * USD, Feed.STX_USD: USD // 4})
    lag: dict[Feed, int] = field(default_factory=lambda: dict.fromkeys(Feed, 2))
    sources: dict[Feed, int] = field(default_factory=lambda: dict.fromkeys(Feed, 5))
    path: Callable[[Feed, dt.datetime], int | None] | None = None

    async def observe(self, feed: Feed, at: dt.datetime) -> Sequence[Observation]:
        """What every speaking source says."""
        price = self.prices[feed] if self.path is None else self.path(feed, at)
        time = at - dt.timedelta(seconds=self.lag[feed])
        names = SOURCES[: self.sources[feed]] if price is not None else ()
        return [Observation(name, price or 0, time, simulated=True) for name in names]

    def is_synthetic(self, feed: Feed) -> bool:
        """Like the recorded data."""
        return feed is Feed.STX_USD

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """None."""
        return []


@dataclass
class Oracle:
    """A running oracle: its stub, its database, its gateway, its public key."""

    stub: Any
    database: Database
    gateway: GatewayStandIn
    public_key: bytes
    signer: OracleSigner
    channel: grpc.aio.Channel
    gateway_channel: grpc.aio.Channel
    address: str

    async def wait_for_round(self, time: dt.datetime | None = None) -> None:
        """Until both feeds have the round of a market time (now unless given)."""
        last = int((time or self.gateway.market_time).timestamp()) // 60 * 60

        async def reached() -> bool:
            return all([(await self.price(feed)).round >= last for feed in (BTC, STX)])

        await eventually(reached)

    async def advance(self, seconds: float) -> None:
        """Moves market time on and waits until it is aggregated."""
        await self.gateway.advance(seconds)
        await self.wait_for_round()

    async def price(self, feed: price_pb2.Feed.ValueType = BTC) -> pb.Price:
        """The latest price."""
        answer: pb.GetPriceResponse = await self.stub.GetPrice(pb.GetPriceRequest(feed=feed))
        return answer.price

    async def rows(self, statement: str) -> Sequence[Any]:
        """What a query of the oracle's schema answers."""
        async with self.database.engine.connect() as connection:
            return (await connection.execute(sa.text(statement))).all()

    async def confirm(self, feed: price_pb2.Feed.ValueType, number: int) -> None:
        """Records that a publication was confirmed."""
        await self.record(feed, number, pb.PUBLICATION_OUTCOME_CONFIRMED)

    async def record(
        self, feed: price_pb2.Feed.ValueType, number: int, outcome: pb.PublicationOutcome.ValueType
    ) -> None:
        """Records how a publication ended."""
        request = pb.RecordPublicationRequest(feed=feed, round=number, outcome=outcome, txid="ab" * 32)
        await self.stub.RecordPublication(request, metadata=WORKFLOWS)

    async def started(self) -> list[tuple[int, int]]:
        """Feed and round of every publication workflow that was started, in order."""
        rows = await self.rows("SELECT payload FROM oracle.outbox ORDER BY id")
        return [(row[0]["input"]["feed"], row[0]["input"]["round"]) for row in rows]

    async def wait_for_start(self, feed: price_pb2.Feed.ValueType, count: int) -> list[int]:
        """The rounds of a feed whose publication was started, once there are `count`."""

        async def there() -> bool:
            return len([one for one in await self.started() if one[0] == feed]) >= count

        await eventually(there)
        return [number for kind, number in await self.started() if kind == feed]


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Polls until true; TimeoutError after the deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_oracle(
    database_url: str, gateway: GatewayStandIn, gateway_address: str, source: PriceSource
) -> AsyncIterator[Oracle]:
    """One replica, with everything but the delivery to Temporal."""
    await migrate(database_url, "oracle", MIGRATIONS)
    database, channel = Database(database_url), open_channel(gateway_address, StaticTokens())
    signer = OracleSigner(KEY, CHAIN_ID, ContractAddress(DEPLOYER, "testnet"))
    tip, rounds = TipFollower(channel), RoundWatch(database)
    burn_blocks = BurnBlocks(channel, tip)
    lease = LeaderLease(database, tables.Lease, "aggregate")
    publisher = Publisher(database, lease, signer, PublicationRules())
    rules = ObservationRules(60, 10_800, AggregationRules(), BreakerRules())
    observer = Observer(database, lease, source, tip, burn_blocks, publisher, rules)
    receipts = Receipts(database, signer, burn_blocks, 60)
    requests = ChainRequests(database, LeaderLease(database, tables.Lease, "requests"), channel, receipts)
    answers = PriceAnswers(tip, FreshnessRules())
    history = PriceHistory(database, source, tip, 60)
    servicer = OracleServicer(database, tip, source, publisher, receipts, rounds, answers, OverrideRules(), history)
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, [oracle_service(servicer)], TestTokens()))
    background = (tip.follow, observer.run, rounds.run, requests.follow, requests.answer)
    tasks = [asyncio.ensure_future(work()) for work in background]
    try:
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address) as client:
            stub: Any = grpc_api.OracleServiceStub(client)
            yield Oracle(stub, database, gateway, signer.public_key, signer, client, channel, address)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(None)
        await channel.close()
        await database.close()
    failures = [one for one in outcomes if not isinstance(one, asyncio.CancelledError)]
    assert not failures, failures


@asynccontextmanager
async def oracle_at(database_url: str, source: PriceSource, time: dt.datetime = START) -> AsyncIterator[Oracle]:
    """An oracle with a gateway of its own, whose first round is there."""
    gateway = GatewayStandIn(time)
    server, address = await serve_gateway(gateway)
    try:
        async with running_oracle(database_url, gateway, address, source) as oracle:
            await oracle.wait_for_round()
            yield oracle
    finally:
        await server.stop(None)

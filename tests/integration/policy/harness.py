"""The policy service in this process, over real sockets and a real database, beside its stand-ins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2, oracle_service_pb2_grpc
from bithedge.policy.v1 import policy_pb2, policy_service_pb2, policy_service_pb2_grpc
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2, pool_service_pb2_grpc
from bithedge.type.v1 import money_pb2, transaction_pb2

import services.policy
from kernel.database import Database, migrate
from kernel.errors import Unavailable
from kernel.feed import Numbering
from kernel.lease import LeaderLease
from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from kernel.rpc.tip import TipFollower
from kernel.rpc.tokens import ServiceTokens
from services.policy.creation import Creation
from services.policy.exercise import Exercise
from services.policy.expiry import Batches, Sweeper
from services.policy.feeds import Feeds
from services.policy.healing import Healing
from services.policy.judge import Judge
from services.policy.launcher import CreationLauncher
from services.policy.listing import Listing
from services.policy.noticing import Noticer
from services.policy.projector import Projector
from services.policy.reading import Reading
from services.policy.servicer import Parts, PolicyServicer
from services.policy.sources import Sources
from services.policy.store_feed import LINES
from services.policy.store_projection import Stream
from services.policy.tables import SCHEMA, Lease
from services.policy.watch import Watchers
from tests.integration.policy.stand_ins import SPOT, USD, GatewayStandIn, OracleStandIn, PoolStandIn
from tests.tokens import TestTokens, metadata, service_metadata
from workflows.contract import Start

MIGRATIONS: Final = Path(services.policy.__file__).parent / "migrations"
HOLDER: Final = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
OTHER: Final = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
VAULT: Final = f"{OTHER}.liquidity-pool-vault"
AS_HOLDER: Final = metadata(HOLDER, Role.HOLDER)
AS_OTHER: Final = metadata(OTHER, Role.HOLDER)
AS_OPERATOR: Final = metadata(OTHER, Role.OPERATOR)
AS_SERVICE: Final = service_metadata("workflows")
SIGNATURE: Final = bytes(range(65))
_DEADLINE_SECONDS: Final = 60.0


def descriptor(module: Any, name: str) -> Any:
    """The description of a service in a generated module."""
    return module.DESCRIPTOR.services_by_name[name]


@dataclass
class LauncherStandIn:
    """A workflow engine of one step: what a test puts in `carry_out` happens while CreatePolicy waits."""

    starts: list[Start] = field(default_factory=list)
    carry_out: Callable[[Start], Awaitable[None]] | None = None

    async def await_quote(self, start: Start) -> None:
        """Records the start and carries out the step."""
        self.starts.append(start)
        if self.carry_out is not None:
            await self.carry_out(start)


@dataclass
class House:
    """Everything a test touches."""

    url: str
    database: Database
    oracle: OracleStandIn
    pool: PoolStandIn
    gateway: GatewayStandIn
    launcher: LauncherStandIn
    stub: policy_service_pb2_grpc.PolicyServiceAsyncStub
    sources: Sources
    sweeper: Sweeper
    judge: Judge
    projectors: dict[Stream, Projector]

    async def create(self, request_id: str = "create-1", **terms: Any) -> policy_pb2.Policy:
        """A policy of HOLDER in PENDING_CREATION; however slow the machine."""
        request = create_request(request_id, **terms)
        return (await self.stub.CreatePolicy(request, metadata=AS_HOLDER, timeout=_DEADLINE_SECONDS)).policy

    async def sign(self, name: str) -> policy_pb2.Policy:
        """What the create workflow does once the gateway has signed."""
        request = pb.RecordSignedQuoteRequest(
            name=name, signature=SIGNATURE, prepared_transaction=prepared_transaction()
        )
        return (await self.stub.RecordSignedQuote(request, metadata=AS_SERVICE)).policy

    async def get(self, name: str) -> policy_pb2.Policy:
        """The policy as its holder sees it."""
        return (await self.stub.GetPolicy(pb.GetPolicyRequest(name=name), metadata=AS_HOLDER)).policy

    async def until(self, name: str, state: policy_pb2.PolicyState.ValueType) -> policy_pb2.Policy:
        """The policy when it has reached a state."""
        policy = policy_pb2.Policy()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            async for answer in self.stub.WatchPolicy(pb.WatchPolicyRequest(name=name), metadata=AS_SERVICE):
                policy = answer.policy
                if policy.state == state:
                    break
        return policy

    async def until_known(self, onchain_id: int) -> policy_pb2.Policy:
        """The policy of a number in the contract, once it has a row."""
        request = pb.GetPolicyByOnchainIdRequest(onchain_id=onchain_id)
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not await self.value(f"SELECT count(*) FROM policy.policy WHERE onchain_id = {onchain_id}"):
                await asyncio.sleep(0.02)
        return (await self.stub.GetPolicyByOnchainId(request, metadata=AS_SERVICE)).policy

    async def until_projected(self, stream: Stream, cursor: int) -> None:
        """Returns when so many answers of a stream are applied."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while int(await self.value(f"SELECT cursor FROM policy.projection WHERE name = '{stream}'") or 0) < cursor:
                await asyncio.sleep(0.02)

    async def set_tip(self, burn_height: int, **values: Any) -> None:
        """Moves the tip and waits until the service knows it."""
        await self.gateway.set_tip(burn_height, **values)
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while self.sources.tips.tip != self.gateway.tip:
                await self.sources.tips.changed(0.05)

    async def value(self, statement: str) -> Any:
        """The single value of a query, or None."""
        async with self.database.engine.connect() as connection:
            return (await connection.execute(sa.text(statement))).scalar()

    async def rows(self, statement: str) -> list[Any]:
        """The rows of a query."""
        async with self.database.engine.connect() as connection:
            return list((await connection.execute(sa.text(statement))).all())

    async def outbox(self, kind: str) -> list[dict[str, Any]]:
        """Payloads of one kind, oldest first."""
        statement = sa.text("SELECT payload FROM policy.outbox WHERE kind = :kind ORDER BY id")
        async with self.database.engine.connect() as connection:
            return list((await connection.execute(statement, {"kind": kind})).scalars())


def create_request(request_id: str, max_premium: int = 10**12, **terms: Any) -> pb.CreatePolicyRequest:
    """A request of sensible terms, some of them replaced."""
    asked = policy_terms(**terms)
    return pb.CreatePolicyRequest(
        request_id=request_id,
        terms=asked,
        max_premium=money_pb2.TokenAmount(token=asked.settlement_token, base_units=max_premium),
    )


def policy_terms(**terms: Any) -> pb.PolicyTerms:
    """A put on 0.1 BTC at 90% of spot with a floor of 80% of that, one day, in STX."""
    values: dict[str, Any] = {
        "protected_amount_sats": 10_000_000,
        "strike_price_usd_e8": SPOT * 9 // 10,
        "floor_price_usd_e8": 75_000 * USD,
        "settlement_token": money_pb2.TOKEN_STX,
        "duration_blocks": 144,
    }
    return pb.PolicyTerms(**(values | terms))


def prepared_transaction() -> transaction_pb2.PreparedTransaction:
    """What a wallet signs, as far as the policy service looks at it."""
    return transaction_pb2.PreparedTransaction(
        name="preparedTransactions/1", principal=HOLDER, contract=f"{OTHER}.policy-registry"
    )


class _PolicyTokens(ServiceTokens):
    """The policy service's own token, without an identity service."""

    def __init__(self) -> None:
        """Nothing to fetch."""

    async def token(self) -> str:
        """As TestTokens expects it."""
        return service_metadata("policy")[0][1].removeprefix("Bearer ")


@asynccontextmanager
async def serving(service: Service, tokens: ServiceTokens | None) -> AsyncIterator[grpc.aio.Channel]:
    """A server of one service on a free port, and a channel to it."""
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, [service], TestTokens()))
    channel = open_channel(f"127.0.0.1:{port}", tokens)
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(None)


@asynccontextmanager
async def running(url: str, launcher: CreationLauncher | None = None, at_once: int = 1_000) -> AsyncIterator[House]:
    """The whole service with its background work; leaves nothing behind but the database."""
    await migrate(url, SCHEMA, MIGRATIONS)
    oracle, pool, gateway = OracleStandIn(), PoolStandIn(), GatewayStandIn()
    database = Database(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        others = [serving(service, _PolicyTokens()) for service in _others(oracle, pool, gateway)]
        channels = [await stack.enter_async_context(other) for other in others]
        tips = TipFollower(channels[2])
        sources = Sources(channels[0], channels[1], channels[2], tips)
        watchers = Watchers(database, sources.burn_height)
        stand_in, healing = LauncherStandIn(), Healing(database, channels[2], VAULT)
        creation = Creation(database, sources, launcher or stand_in, VAULT)
        reading = Reading(database, sources, watchers)
        exercise, listing = Exercise(database, sources), Listing(database, reading)
        feeds, batches = Feeds(database, reading, watchers), Batches(database)
        servicer = PolicyServicer(Parts(creation, exercise, batches, reading, listing, feeds, sources, healing))
        channel = await stack.enter_async_context(serving(_policy(servicer), None))
        sweeper = Sweeper(database, LeaderLease(database, Lease, "sweeper"), at_once)
        projectors = {
            stream: Projector(database, channels[2], stream, LeaderLease(database, Lease, f"projector {stream}"), VAULT)
            for stream in Stream
        }
        judge = Judge(database, sources)
        work = [
            tips.follow,
            watchers.run,
            judge.run,
            sweeper.run,
            Noticer(database, sources, LeaderLease(database, Lease, "noticer")).run,
            Numbering(database, LeaderLease(database, Lease, "numbering"), LINES).run,
            *(one.run for one in projectors.values()),
        ]
        await stack.enter_async_context(_background(work))
        await _until_tip_known(tips)
        stub = policy_service_pb2_grpc.PolicyServiceStub(channel)
        yield House(url, database, oracle, pool, gateway, stand_in, stub, sources, sweeper, judge, projectors)


def _others(oracle: Any, pool: Any, gateway: Any) -> list[Service]:
    return [
        Service(
            descriptor(oracle_service_pb2, "OracleService"),
            lambda server: oracle_service_pb2_grpc.add_OracleServiceServicer_to_server(oracle, server),
        ),
        Service(
            descriptor(pool_service_pb2, "PoolService"),
            lambda server: pool_service_pb2_grpc.add_PoolServiceServicer_to_server(pool, server),
        ),
        Service(
            descriptor(gateway_pb2, "ChainGatewayService"),
            lambda server: gateway_grpc.add_ChainGatewayServiceServicer_to_server(gateway, server),
        ),
    ]


def _policy(servicer: PolicyServicer) -> Service:
    return Service(
        descriptor(policy_service_pb2, "PolicyService"),
        lambda server: policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(servicer, server),
    )


@asynccontextmanager
async def _background(work: Sequence[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one()) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _until_tip_known(tips: TipFollower) -> None:
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while True:
            with contextlib.suppress(Unavailable):
                tips.now()
                return
            await tips.changed(0.05)

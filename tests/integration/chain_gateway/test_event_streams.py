"""Whatever the chain does and whenever a consumer is cut off: no event is lost, told twice, or told too early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, migrate
from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.lease import LeaderLease
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.event_stream import EventStream
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.ingest import Ingest, IngestSettings
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.reindex.comparison import Reindex
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.post_condition import parse_asset
from services.chain_gateway.stacks.transaction import TESTNET
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import SCHEMA, Lease
from tests.integration.chain_gateway.scripted_node import (
    ScriptedNode,
    ScriptedTransaction,
    deposit_print,
    digest,
    scripted_node,
)

DEPLOYER: Final = "ST000000000000000000002AMW42H"
VAULT: Final = f"{DEPLOYER}.liquidity-pool-vault"
CONFIRMATIONS: Final = 2
Key = tuple[str, str, int]


class NoRival(LeaderLease):
    """A lease that nobody contends for."""

    async def check(self, session: AsyncSession) -> None:
        """It is held."""


@dataclass
class Consumer:
    """Applies events as a projector does: cursor and effect together, or neither."""

    finality: int
    burn_confirmations: int = 0
    cursor: str = ""
    sequence: int = 0
    held: dict[Key, int] = field(default_factory=dict)

    @property
    def needed(self) -> int:
        """Confirmations that an event must have had."""
        if self.finality == pb.EVENT_FINALITY_TIP:
            return 0
        return self.burn_confirmations or CONFIRMATIONS

    def apply(self, answer: pb.WatchEventsResponse, most_confirmations: dict[str, int]) -> None:
        """Takes one answer; AssertionError for an event out of order, told twice, withdrawn unseen, or too early."""
        for event in answer.events:
            assert event.sequence > self.sequence
            self.sequence = event.sequence
            key = _key(event)
            if event.withdrawn:
                del self.held[key]
            else:
                assert key not in self.held
                self.held[key] = event.sequence
                assert most_confirmations[event.block_hash] >= self.needed
        self.cursor = answer.cursor


def _key(event: chain_event_pb2.ChainEvent) -> Key:
    return event.block_hash, event.txid, event.event_index


@dataclass
class Scene:
    """A scripted chain and a gateway's ingestion and streams, moved by hand."""

    node: ScriptedNode
    database: Database
    http: aiohttp.ClientSession
    contracts: Contracts
    forks: int = 0
    most_confirmations: dict[str, int] = field(default_factory=dict)

    async def reset(self) -> None:
        """An empty database and a chain of one block."""
        async with self.database.transaction() as session:
            tables = ", ".join(f"{SCHEMA}.{name}" for name in ("event", "chain_state", "block"))
            await (await session.connection()).execute(sa.text(f"TRUNCATE {tables} CASCADE"))
        self.node.blocks.clear()
        self.node.add(1)
        self.forks = 0
        self.most_confirmations.clear()
        self.nodes = NodePool.open([self.node.url], self.http, 5.0)
        self.state = StateFollower(self.database, CONFIRMATIONS)
        lease = NoRival(self.database, Lease, "ingest")
        chosen = IngestSettings(CONFIRMATIONS, 1.0, 1, False, ())
        self.ingest = Ingest(self.database, self.nodes, self.contracts, lease, chosen)
        self.streams = EventStream(self.database, self.state, self.contracts)
        await self.follow()

    def grow(self, blocks: int, burn_every: int, *, depth: int = 0) -> None:
        """Adds blocks with a deposit or two each, after taking `depth` away; a branch may come later in burn time."""
        kept = max(1, len(self.node.blocks) - depth)
        if depth:
            self.forks += 1
            del self.node.blocks[kept:]
        for number in range(blocks):
            below = self.node.blocks[-1]
            burn = below.burn_height + (1 if burn_every and number % burn_every == 0 else 0)
            height = len(self.node.blocks) + 1
            events = [deposit_print(height, VAULT) for _ in range(1 + height % 2)]
            self.node.add(burn, ScriptedTransaction(digest("tx", height), events), fork=str(self.forks))

    async def follow(self) -> None:
        """Ingests until it stands at the node's tip, if that is on a chain that ours can follow."""
        for _ in range(100):
            if not await self.ingest.step():
                break
        await self.state.refresh()
        row = self.state.snapshot.row
        for block in self.node.blocks:
            if block.height <= row.stacks_height:
                had = self.most_confirmations.get(block.hash, 0)
                self.most_confirmations[block.hash] = max(had, row.burn_height - block.burn_height)

    async def read(self, consumer: Consumer, *, lost: bool) -> None:
        """Reads all there is, from the consumer's cursor on; a lost answer is one that never arrived."""
        request = pb.WatchEventsRequest(
            cursor=consumer.cursor,
            finality=pb.EventFinality.ValueType(consumer.finality),
            burn_confirmations=consumer.burn_confirmations,
        )
        stream = self.streams.watch(request)
        async for answer in stream:
            if not lost:
                consumer.apply(answer, self.most_confirmations)
            # A page that is not full was the last for now.
            if lost or answer.delivered_burn_height or len(answer.events) < 200:
                break
        await stream.aclose()  # type: ignore[attr-defined]

    def canonical(self, needed: int) -> list[Key]:
        """What the chain holds of our events that had so many confirmations, in its order."""
        return [
            (block.hash, transaction.txid, index)
            for block in self.node.blocks
            for transaction in block.transactions
            for index in range(len(transaction.events))
            if self.most_confirmations[block.hash] >= needed
        ]


@pytest.fixture(scope="module")
async def scene(module_database_url: str) -> AsyncIterator[Scene]:
    """One for all examples; each resets it."""
    await migrate(module_database_url, SCHEMA, MIGRATIONS)
    database = Database(module_database_url)
    sbtc = parse_asset("SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token::sbtc-token")
    contracts = Contracts("testnet", TESTNET, parse_address(DEPLOYER), sbtc)
    async with scripted_node() as node, aiohttp.ClientSession() as http:
        yield Scene(node, database, http, contracts)
    await database.close()


GROW = st.tuples(st.just("grow"), st.integers(1, 6), st.integers(0, 3))
FORK = st.tuples(st.just("fork"), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
READ = st.tuples(st.just("read"), st.integers(0, 4), st.booleans())
FOLLOW = st.just(("follow",))


def _consumers() -> list[Consumer]:
    final = [Consumer(pb.EVENT_FINALITY_FINAL, number) for number in (0, 1, 4)]
    return [Consumer(pb.EVENT_FINALITY_TIP), Consumer(pb.EVENT_FINALITY_TIP), *final]


async def _play(scene: Scene, consumers: Sequence[Consumer], moves: Sequence[Any]) -> None:
    for move in moves:
        match move:
            case ("grow", blocks, burn_every):
                scene.grow(blocks, burn_every)
            case ("fork", depth, blocks, burn_every):
                scene.grow(blocks, burn_every, depth=depth)
            case ("read", who, lost):
                await scene.read(consumers[who], lost=lost)
            case _:
                await scene.follow()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(moves=st.lists(st.one_of(GROW, FORK, READ, FOLLOW, FOLLOW), min_size=5, max_size=40))
async def test_any_reorganisations_and_disconnects(scene: Scene, moves: list[Any]) -> None:
    """At the end every consumer holds exactly the canonical events that were final enough, in the chain's order; a
    new one is told the same; and the tables equal a fresh index."""
    await scene.reset()
    consumers = _consumers()
    await _play(scene, consumers, moves)
    scene.grow(10, 1)
    await scene.follow()
    for consumer in (*consumers, *_consumers()):
        await scene.read(consumer, lost=False)
        assert sorted(consumer.held, key=lambda key: consumer.held[key]) == scene.canonical(consumer.needed)
    report = await Reindex(scene.database, scene.nodes, scene.contracts, 1).compare()
    assert report.differences == []


async def test_what_survives_a_burn_reorganisation_stays_final(scene: Scene) -> None:
    """An event that had been final, and lies below the fork, is told though the new tip has a lower burn height."""
    await scene.reset()
    scene.grow(6, 1)
    await scene.follow()
    early = Consumer(pb.EVENT_FINALITY_FINAL)
    await scene.read(early, lost=False)
    scene.grow(2, 0, depth=3)
    await scene.follow()
    scene.grow(3, 0)
    await scene.follow()
    late = Consumer(pb.EVENT_FINALITY_FINAL)
    for consumer in (early, late):
        await scene.read(consumer, lost=False)
    scene.grow(6, 1)
    await scene.follow()
    for consumer in (early, late):
        await scene.read(consumer, lost=False)
        assert sorted(consumer.held, key=lambda key: consumer.held[key]) == scene.canonical(CONFIRMATIONS)


@pytest.mark.parametrize(
    ("finality", "number", "cursor"),
    [
        (pb.EVENT_FINALITY_FINAL, 101, ""),
        (pb.EVENT_FINALITY_FINAL, -1, ""),
        (pb.EVENT_FINALITY_TIP, 1, ""),
        (pb.EVENT_FINALITY_FINAL, 6, "v1.f.3"),
        (pb.EVENT_FINALITY_FINAL, 0, "v1.f6.3"),
        (pb.EVENT_FINALITY_FINAL, 6, "v1.f5.3"),
        (pb.EVENT_FINALITY_FINAL, 6, "v1.f06.3"),
    ],
)
async def test_a_number_out_of_bounds_or_of_another_cursor_is_refused(
    scene: Scene, finality: int, number: int, cursor: str
) -> None:
    """Confirmations are bounded, belong to final events, and a cursor leads on only where it came from."""
    await scene.reset()
    request = pb.WatchEventsRequest(
        cursor=cursor, finality=pb.EventFinality.ValueType(finality), burn_confirmations=number
    )
    with pytest.raises(InvalidArgument):
        await anext(aiter(scene.streams.watch(request)))


async def test_a_cursor_of_a_replica_that_is_ahead_is_served(scene: Scene) -> None:
    """It leads on in a replica that has not heard of the newest block yet; one of no history of ours is refused."""
    await scene.reset()
    behind = StateFollower(scene.database, CONFIRMATIONS)
    await behind.refresh()
    scene.grow(2, 1)
    await scene.follow()
    consumer = Consumer(pb.EVENT_FINALITY_TIP)
    await scene.read(consumer, lost=False)
    request = pb.WatchEventsRequest(cursor=consumer.cursor, finality=pb.EVENT_FINALITY_TIP)
    stream = EventStream(scene.database, behind, scene.contracts).watch(request)
    answer = await anext(aiter(stream))
    assert (answer.cursor, len(answer.events)) == (consumer.cursor, 0)
    await stream.aclose()  # type: ignore[attr-defined]
    request.cursor = f"v1.t.{consumer.sequence + 1}"
    with pytest.raises(FailedPrecondition, match="another history"):
        await anext(aiter(scene.streams.watch(request)))

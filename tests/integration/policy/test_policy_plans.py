"""Every statement of the store goes by an index, on tables large enough that the planner would rather scan."""

from __future__ import annotations

import datetime as dt
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import asyncpg
import pytest
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.lease import LeaderLease
from kernel.retention import Retention
from kernel.units import Tier, Token
from services.policy import (
    store,
    store_activations,
    store_expiry,
    store_feed,
    store_figures,
    store_notices,
    store_projection,
    store_queries,
)
from services.policy.convert_lists import key_of
from services.policy.domain.activation import KnownTip
from services.policy.domain.policy import Origin, Policy, birth, touch
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.store_activations import read_latest_activations
from services.policy.store_expiry import ExpiryBatch
from services.policy.store_projection import Stream
from services.policy.store_queries import Order, PolicyFilter
from services.policy.tables import SCHEMA, Lease, Outbox, Request
from tests.integration.policy import events
from tests.integration.policy.harness import AS_HOLDER, MIGRATIONS, running
from tests.integration.policy.plans import Statements, filtered, noting, scanned
from tests.integration.policy.stand_ins import USD
from tests.integration.policy.test_policy_life import FINAL, activate, active_policy, record_receipt
from tests.load import policies as load

COUNT = 20_000
STORES = (
    store,
    store_activations,
    store_expiry,
    store_feed,
    store_figures,
    store_notices,
    store_projection,
    store_queries,
)
# One or a few rows, or emptied all the time.
SMALL = {"projection", "lease", "stat", "stat_delta", "notice_cursor", "feed_number"}
# These are given no statement of their own: they run one that a caller made.
PASSING_ON = {"execute", "rows"}
# What the kernel does in the tables of each service.
OF_KERNEL = ("number", "last_number", "horizon", "prune_feed", "prune_outbox", "prune_requests")
CUSTODIAN = "SP-CUSTODIAN"
# Of a thousand one is of another tier.
_CUSTODIAN = f"""UPDATE policy.policy
    SET holder_principal = '{CUSTODIAN}', tier = CASE hashtext(id) % 1000 WHEN 0 THEN 2 ELSE 1 END
    WHERE hashtext(holder_principal) % 4 = 0"""
Case = Callable[[AsyncSession, Policy], list[Awaitable[Any]]]


@dataclass(frozen=True)
class Full:
    """A full database, and a settled policy in it."""

    url: str
    database: Database
    policy: Policy
    custodian: Policy


@pytest.fixture(scope="module")
async def full(module_database_url: str) -> AsyncIterator[Full]:
    """20,000 policies, a quarter of them of one holder."""
    await migrate(module_database_url, SCHEMA, MIGRATIONS)
    connection = await asyncpg.connect(module_database_url)
    await load.fill(connection, COUNT)
    await connection.execute(_CUSTODIAN)
    await connection.execute("VACUUM ANALYZE policy.policy")
    await connection.close()
    database = Database(module_database_url)
    async with database.reading() as session:
        wanted = PolicyFilter(None, (PolicyState.SETTLED,), Tier.BALANCED)
        newest = await store_queries.list_policies(session, wanted, None, COUNT)
        held = await store_queries.list_policies(session, PolicyFilter(CUSTODIAN), None, COUNT)
    # From the middle: on either side of it a list would be long.
    policy, custodian = (found[len(found) // 2] for found in (newest, held))
    yield Full(module_database_url, database, policy, custodian)
    await database.close()


def case_names() -> list[str]:
    """Every coroutine that a store offers."""
    found = []
    for module in STORES:
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            if function.__module__ == module.__name__ and not name.startswith("_") and name not in PASSING_ON:
                found.append(f"{_short(module)}.{name}")
    return [*found, *(f"kernel.{name}" for name in OF_KERNEL)]


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("name", case_names())
async def test_the_store_never_reads_a_large_table_from_end_to_end(full: Full, name: str) -> None:
    """Of each function of the store, and of each list that it can be asked for, every plan goes by an index."""
    module, function = name.split(".")
    with noting(full.database) as statements:
        async with AsyncSession(full.database.engine) as session:
            for call in CASES[function](session, full.policy):
                await call
            await session.rollback()
    assert statements.issued, f"{module}.{function} issued nothing"
    found = await scanned(full.url, statements)
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


async def test_who_holds_very_many_policies_reads_no_more_than_a_page(full: Full) -> None:
    """Whatever a holder asks for, the index holds all of it: no row is read only to be left out."""
    with noting(full.database) as statements:
        async with AsyncSession(full.database.engine) as session:
            for call in lists(session, full.custodian):
                await call
    assert len(statements.issued) > 30
    assert await scanned(full.url, statements) == {}
    assert await filtered(full.url, statements) == 0


async def test_a_whole_life_reads_no_large_table_from_end_to_end(full: Full) -> None:
    """Everything that the service itself issues while a policy is made, exercised, settled, listed and watched."""
    async with running(full.url) as house:
        with noting(house.database) as statements:
            policy = await activate(house, (await active_policy(house)).name)
            await record_receipt(house, policy, 80_000 * USD)
            settled = events.settled(policy, 5, 1_000_000)
            await house.gateway.deliver(FINAL, settled)
            await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
            await house.stub.ListPolicies(pb.ListPoliciesRequest(), metadata=AS_HOLDER)
            await house.stub.ListNotifications(pb.ListNotificationsRequest(), metadata=AS_HOLDER)
            await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest())
            stream: Any = house.stub.WatchPolicies(pb.WatchPoliciesRequest(), metadata=AS_HOLDER)
            await stream.read()
            stream.cancel()
    kept = [one for one in statements.issued if not one[0].startswith(("SELECT pg_notify", "INSERT"))]
    assert len({text for text, _ in kept}) > 20
    found = await scanned(full.url, Statements(list({text: (text, values) for text, values in kept}.values())))
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


def lists(session: AsyncSession, policy: Policy) -> list[Awaitable[Any]]:
    """Every kind of list that a request can ask for, at its start and further on."""
    states: tuple[tuple[PolicyState, ...], ...] = ((), (PolicyState.ACTIVE,), tuple(PolicyState))
    heights, tokens = ((0, None), (1, 10**7)), (None, Token.STX)
    wanted = []
    for order, chosen, tier, (low, high) in itertools.product(Order, states, (None, Tier.BALANCED), heights):
        mine = PolicyFilter(policy.holder_principal, chosen, tier, Token.STX, low, high, order)
        if high is None or order is Order.EXPIRATION:
            wanted += [replace(mine, token=token) for token in tokens]
        if order is Order.EXPIRATION:
            wanted.append(replace(mine, holder_principal=None, token=None, tier=None))
        elif high is None:
            wanted.append(replace(mine, holder_principal=None, token=None))
    return [
        store_queries.list_policies(session, asked, after, 51)
        for asked in wanted
        for after in (None, key_of(policy, asked.order))
    ]


def one(
    make: Callable[[AsyncSession, Policy], Awaitable[Any]],
) -> Callable[[AsyncSession, Policy], list[Awaitable[Any]]]:
    """A case of a single call."""
    return lambda session, policy: [make(session, policy)]


async def with_activation(session: AsyncSession, policy: Policy, **changes: Any) -> None:
    """Stores the policy's activation again, or as another one."""
    activation = (await read_latest_activations(session, [policy]))[policy.id]
    write = store_activations.insert_activation if changes else store_activations.save_activation
    await write(session, replace(activation, **changes))


async def numbered(session: AsyncSession, policy: Policy) -> None:
    """A line without a number gets one."""
    await store_feed.add_changes(session, [(policy, None)])
    assert await store_feed.LINES.number(session) == 1


def retention() -> Retention:
    """What prunes; of a database of its own, for only single statements of it are run."""
    nowhere = Database("postgresql://nowhere")
    return Retention(nowhere, LeaderLease(nowhere, Lease, "x"), Outbox, Request, store_feed.LINES)


LONG_AFTER = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
BATCH = ExpiryBatch(f"{0:032x}", 1, ["x"], wall_now())
TIP = KnownTip(1, wall_now(), wall_now())
CASES: dict[str, Case] = {
    "find": one(lambda s, p: store.find(s, p.id)),
    "find_onchain": one(lambda s, p: store.find_onchain(s, p.onchain_id)),
    "get": one(lambda s, p: store.get(s, p.id)),
    "lock": one(lambda s, p: store.lock(s, p.id)),
    "lock_all": one(lambda s, p: store.lock_all(s, [p.id, "x"])),
    "insert": one(
        lambda s, p: store.insert(
            s,
            fresh := replace(p, id=new_id(), onchain_id=0),
            birth(fresh, Actor.CALL, Cause.QUOTE_ACCEPTED, Origin(wall_now())),
        )
    ),
    "save": one(lambda s, p: store.save(s, touch(p, Origin(wall_now()), reason="x"))),
    "save_all": one(lambda s, p: store.save_all(s, [touch(p, Origin(wall_now()), reason="x")])),
    "read_history": one(lambda s, p: store.read_history(s, [p.id, "x"])),
    "insert_activation": one(lambda s, p: with_activation(s, p, number=2)),
    "save_activation": one(lambda s, p: with_activation(s, p)),
    "read_activation": one(lambda s, p: store_activations.read_activation(s, p, 1)),
    "read_latest_activations": one(lambda s, p: read_latest_activations(s, [p])),
    "find_latest_activation": one(lambda s, p: store_activations.find_latest_activation(s, p.id)),
    "list_unjudged": one(lambda s, p: store_activations.list_unjudged(s, 100)),
    "land_decided": one(lambda s, p: store_expiry.land_decided(s)),
    "crowded_heights": one(lambda s, p: store_expiry.crowded_heights(s, 16, wall_now())),
    "lock_due": one(lambda s, p: store_expiry.lock_due(s, 10**7)),
    "insert_batch": one(lambda s, p: store_expiry.insert_batch(s, replace(BATCH, id=new_id()))),
    "read_batch": one(lambda s, p: store_expiry.read_batch(s, BATCH.id, lock=True)),
    "read_batch_policies": one(
        lambda s, p: store_expiry.read_batch_policies(s, replace(BATCH, policy_ids=[p.id] * 200), lock=True)
    ),
    "mark_released": one(lambda s, p: store_expiry.mark_released(s, BATCH, wall_now(), "x")),
    "add_figures": one(lambda s, p: store_figures.add_figures(s, store_figures.figures_of(None, p))),
    "read_figures": one(lambda s, p: store_figures.read_figures(s)),
    "fold_figures": one(lambda s, p: store_figures.fold_figures(s)),
    "read_projection": one(lambda s, p: store_projection.read_projection(s, Stream.FINAL, lock=True)),
    "advance": one(lambda s, p: store_projection.advance(s, Stream.FINAL, "1", 1, TIP)),
    "set_stop_reason": one(lambda s, p: store_projection.set_stop_reason(s, "x")),
    "is_stopped": one(lambda s, p: store_projection.is_stopped(s)),
    "lock_unpaid": one(lambda s, p: store_projection.lock_unpaid(s, 10**7, 200)),
    "list_policies": lists,
    "list_onchain": one(lambda s, p: store_queries.list_onchain(s, 5, 1_001)),
    "list_onchain_of": one(lambda s, p: store_queries.list_onchain_of(s, [p.id] * 1_000)),
    "find_policies": one(lambda s, p: store_queries.find_policies(s, [p.id, "x"])),
    "add_changes": one(lambda s, p: store_feed.add_changes(s, [(p, None)])),
    "list_lines": one(lambda s, p: store_feed.list_lines(s, 5, 1_000)),
    "list_principal_lines": lambda s, p: [
        store_feed.list_principal_lines(s, p.holder_principal, 5, 50, notices=notices) for notices in (True, False)
    ],
    "lock_cursor": one(lambda s, p: store_notices.lock_cursor(s, "x", 1)),
    "set_cursor": one(lambda s, p: store_notices.set_cursor(s, "x", 1)),
    "add_near_expiry": one(lambda s, p: store_notices.add_near_expiry(s, load.TIP, load.TIP + 300, 144, wall_now(), 1)),
    "add_in_the_money": one(
        lambda s, p: store_notices.add_in_the_money(s, 84_900 * 10**8, 85_100 * 10**8, 1, wall_now(), 1)
    ),
    "list_versions": one(lambda s, p: store_queries.list_versions(s, [p.id] * 1_000)),
    "read_record": one(lambda s, p: store_queries.read_record(s, p)),
    "read_records": one(lambda s, p: store_queries.read_records(s, [p, p])),
    "number": one(lambda s, p: numbered(s, p)),
    "last_number": one(lambda s, p: store_feed.LINES.last_number(s)),
    "horizon": one(lambda s, p: store_feed.LINES.horizon(s)),
    "prune_feed": one(lambda s, p: store_feed.LINES.prune(s, wall_now(), 1_000)),
    "prune_outbox": one(lambda s, p: retention().prune_outbox(s, LONG_AFTER, 1_000)),
    "prune_requests": one(lambda s, p: retention().prune_requests(s, LONG_AFTER, 1_000)),
}

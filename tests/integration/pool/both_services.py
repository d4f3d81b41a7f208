"""The pool and the policy service on one chain, each with its own schema, and the step that reconciles them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import sqlalchemy as sa
from bithedge.policy.v1 import policy_service_pb2, policy_service_pb2_grpc
from bithedge.pool.v1 import pool_service_pb2, pool_service_pb2_grpc
from bithedge.pool.v1 import pool_service_pb2 as pb
from temporalio.testing import ActivityEnvironment

from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.lease import LeaderLease
from kernel.rpc.server import Service
from services.policy.creation import Creation
from services.policy.exercise import Exercise
from services.policy.expiry import Batches
from services.policy.feeds import Feeds
from services.policy.healing import Healing
from services.policy.listing import Listing
from services.policy.projector import Projector
from services.policy.reading import Reading
from services.policy.servicer import Parts, PolicyServicer
from services.policy.sources import Sources
from services.policy.store_projection import Stream
from services.policy.tables import SCHEMA, Lease
from services.policy.watch import Watchers
from services.pool.servicer import PoolServicer
from tests.integration.policy.harness import MIGRATIONS, VAULT, LauncherStandIn, descriptor, serving
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.planted import Scene, prepare
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, eventually
from workflows import steps
from workflows.activities.reconciliation import ReconciliationActivities


class _WorkflowsTokens:
    async def token(self) -> str:
        return "service:workflows|SERVICE"


@dataclass
class Both:
    """Both services, with one provider and one open policy in their books."""

    scene: Scene
    policies: policy_service_pb2_grpc.PolicyServiceAsyncStub
    activities: ReconciliationActivities
    projector: Projector

    @property
    def pool(self) -> RunningPool:
        """The pool beside the policy service."""
        return self.scene.pool

    async def by_hand(self, *statements: str) -> None:
        """What no process of ours can do: the triggers and the keys between tables are off."""
        async with self.pool.database.engine.begin() as connection:
            await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                await connection.execute(sa.text(statement))

    async def follow(self) -> None:
        """Returns when the policy service has taken in all that the pool has."""

        async def reached() -> bool:
            return (await self._cursor()) >= int(await self.pool.scalar("SELECT cursor FROM pool.cursor"))

        following = asyncio.ensure_future(self.projector.run())
        try:
            await eventually(reached)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def skip(self) -> None:
        """Puts the policy service where the pool is, past the events between."""
        await self.by_hand(
            "UPDATE policy.projection SET cursor = c.cursor, delivered_burn_height = c.projected_burn_height"
            " FROM pool.cursor c WHERE projection.name = 'FINAL'"
        )

    async def _cursor(self) -> int:
        return int(await self.pool.scalar("SELECT cursor FROM policy.projection WHERE name = 'FINAL'") or 0)

    async def reconcile(self, name: str = "", before: Sequence[str] = ()) -> pb.Reconciliation:
        """The report that the workflow's step leaves, new or of this name; `before` is what an attempt told."""
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, heartbeat_details=list(before))
        step = steps.ReconciliationStep(name or f"reconciliations/{new_id()}")
        done = await environment.run(self.activities.reconcile, step)
        request = pb.GetReconciliationRequest(name=done.reconciliation)
        return (await self.pool.stub.GetReconciliation(request, metadata=WORKFLOWS)).reconciliation


@contextlib.asynccontextmanager
async def both_services(pool: RunningPool, database_url: str) -> AsyncIterator[Both]:
    """A policy service beside a running pool."""
    await migrate(database_url, SCHEMA, MIGRATIONS)
    database, gateway = Database(database_url), pool.gateway_channel
    pool.gateway.contracts = lambda: honest_request(pool).contracts
    tokens: Any = _WorkflowsTokens()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        sources = Sources(gateway, gateway, gateway, pool.tip)
        servicer = _servicer(database, sources, gateway)
        policies = await stack.enter_async_context(serving(_policy(servicer), tokens))
        pools = await stack.enter_async_context(serving(_pool(PoolServicer(pool.parts)), tokens))
        lease = LeaderLease(database, Lease, "projector")
        yield Both(
            await prepare(pool),
            policy_service_pb2_grpc.PolicyServiceStub(policies),
            ReconciliationActivities(pools, policies, gateway),
            Projector(database, gateway, Stream.FINAL, lease, VAULT),
        )


def _servicer(database: Database, sources: Sources, gateway: grpc.aio.Channel) -> PolicyServicer:
    watchers = Watchers(database, sources.burn_height)
    reading = Reading(database, sources, watchers)
    return PolicyServicer(
        Parts(
            Creation(database, sources, LauncherStandIn(), VAULT),
            Exercise(database, sources),
            Batches(database),
            reading,
            Listing(database, reading),
            Feeds(database, reading, watchers),
            sources,
            Healing(database, gateway, VAULT),
        )
    )


def _policy(servicer: PolicyServicer) -> Service:
    return Service(
        descriptor(policy_service_pb2, "PolicyService"),
        lambda server: policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(servicer, server),
    )


def _pool(servicer: PoolServicer) -> Service:
    return Service(
        descriptor(pool_service_pb2, "PoolService"),
        lambda server: pool_service_pb2_grpc.add_PoolServiceServicer_to_server(servicer, server),
    )

"""Reconciliation's activity between a real gateway and stand-ins of the two services that take and have books."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from temporalio.testing import ActivityEnvironment

from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from tests.integration.chain_gateway.world import RunningGateway
from tests.tokens import TestTokens
from tests.workflows.script import Script
from tests.workflows.stand_ins import PolicyStandIn, PoolStandIn
from workflows import steps
from workflows.activities.reconciliation import ReconciliationActivities

Happening = Callable[[], Awaitable[None]]
_STEP: Final = steps.ReconciliationStep("reconciliations/x")


class _WorkflowsToken:
    async def token(self) -> str:
        return "service:workflows|SERVICE"


class _After(grpc.aio.UnaryUnaryClientInterceptor):
    """`happens` comes after each page of the contracts, between two calls, so that no deadline runs meanwhile."""

    def __init__(self, happens: Happening) -> None:
        self._happens = happens

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Passes the call on."""
        call = await continuation(client_call_details, request)
        await call
        if isinstance(request, pool_pb.AddReconciliationPageRequest) and request.HasField("contracts"):
            await self._happens()
        return call


@dataclass
class Carrying:
    """The activity, what the pool was handed by it, and what it told whoever retries it."""

    activities: ReconciliationActivities
    script: Script
    told: list[str] = field(default_factory=list)

    async def attempt(self) -> None:
        """One attempt, which goes on where the one before it was."""
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, heartbeat_details=list(self.told))
        environment.on_heartbeat = self._heard
        await environment.run(self.activities.reconcile, _STEP)

    def _heard(self, *details: str) -> None:
        self.told = list(details)

    @property
    def pages(self) -> list[pb.GetContractSnapshotResponse]:
        """The pages of the contracts, in the order in which the pool got them."""
        asked = self.script.asked("AddReconciliationPage")
        return [page.contracts for page in asked if page.HasField("contracts")]

    @property
    def compared(self) -> list[pb.GetContractSnapshotResponse]:
        """What the pool was asked to compare."""
        return [asked.contracts for asked in self.script.asked("CreateReconciliation")]


@asynccontextmanager
async def carrying(gateway: RunningGateway, happens: Happening) -> AsyncIterator[Carrying]:
    """The activity on this gateway."""
    script = Script()
    pool: Any = PoolStandIn(script)
    policy: Any = PolicyStandIn(script)
    services = [
        Service(
            pool_pb.DESCRIPTOR.services_by_name["PoolService"],
            lambda server: pool_grpc.add_PoolServiceServicer_to_server(pool, server),
        ),
        Service(
            policy_pb.DESCRIPTOR.services_by_name["PolicyService"],
            lambda server: policy_grpc.add_PolicyServiceServicer_to_server(policy, server),
        ),
    ]
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, services, TestTokens()))
    tokens = _WorkflowsToken()
    there = open_channel(f"127.0.0.1:{port}", tokens, [_After(happens)])
    async with there as books, open_channel(gateway.address, tokens) as chain:
        yield Carrying(ReconciliationActivities(books, books, chain), script)
    await server.stop(None)

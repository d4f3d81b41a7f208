"""A Temporal dev server, stand-ins of the services on one real gRPC socket, and a worker between them."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import SearchAttributeKey, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from kernel.temporal import search_attributes
from tests.tokens import TestTokens
from tests.workflows.script import Script
from tests.workflows.stand_ins import GatewayStandIn, OracleStandIn, PolicyStandIn, PoolStandIn
from workflows.activities.chain_gateway import ChainGatewayActivities
from workflows.activities.oracle import OracleActivities
from workflows.activities.policy import PolicyActivities
from workflows.activities.pool import PoolActivities
from workflows.activities.reconciliation import ReconciliationActivities
from workflows.contract import TASK_QUEUE, PolicyLabels, SearchAttribute, SignalName, Start, UpdateName
from workflows.worker import build_worker

DEADLINE_SECONDS: Final = 60.0
_TEMPORAL: Final = Path(sys.executable).with_name("temporal")


class _WorkflowsToken:
    """The worker's own token, without an identity service."""

    async def token(self) -> str:
        """A token that `TestTokens` believes."""
        return f"service:workflows|{Role.SERVICE.name}"


async def start_temporal(*arguments: str) -> WorkflowEnvironment:
    """A dev server in memory with our search attributes; its client names itself `tests` in histories."""
    return await WorkflowEnvironment.start_local(
        identity="tests",
        dev_server_existing_path=str(_TEMPORAL),
        dev_server_log_level="error",
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SearchAttribute],
        dev_server_extra_args=arguments,
    )


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns as soon as the condition holds; TimeoutError if that takes too long."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def labels(policy: str) -> PolicyLabels:
    """Labels of a policy that is PENDING_CREATION."""
    return PolicyLabels(policy, "ST1HOLDER", "BALANCED", "PENDING_CREATION")


@dataclass
class World:
    """What a test of workflows acts on."""

    client: Client
    script: Script
    gateway: GatewayStandIn
    channel: grpc.aio.Channel

    def worker(self) -> Worker:
        """One more worker like the product's."""
        channel = self.channel
        return build_worker(
            self.client,
            ChainGatewayActivities(channel, channel, channel),
            OracleActivities(channel, channel),
            PolicyActivities(channel),
            PoolActivities(channel, channel),
            ReconciliationActivities(channel, channel, channel),
        )

    async def start(self, start: Start) -> WorkflowHandle[Any, Any]:
        """Starts what the contract describes, as its outbox row would."""
        return await self.client.start_workflow(
            str(start.workflow),
            dataclasses.asdict(start.input),
            id=start.workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=search_attributes({str(name): value for name, value in start.attributes.items()}),
        )

    async def await_quote(self, start: Start) -> str:
        """Starts a creation and awaits its quote in one call, as the policy service does; the state it answers."""
        operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            str(start.workflow),
            dataclasses.asdict(start.input),
            id=start.workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=search_attributes({str(name): value for name, value in start.attributes.items()}),
        )
        state: str = await self.client.execute_update_with_start_workflow(
            str(UpdateName.AWAIT_QUOTE), start_workflow_operation=operation
        )
        return state

    async def signal(self, workflow_id: str, signal: SignalName, state: str) -> None:
        """Signals as the outbox would."""
        await self.client.get_workflow_handle(workflow_id).signal(str(signal), state)

    async def result(self, workflow_id: str) -> dict[str, Any]:
        """What a workflow returned; its failure is raised."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            answer: dict[str, Any] = await self.client.get_workflow_handle(workflow_id).result()
        return answer

    async def attributes(self, workflow_id: str) -> dict[str, str]:
        """The search attributes of ours that a workflow carries."""
        description = await self.client.get_workflow_handle(workflow_id).describe()
        ours = set(SearchAttribute)
        return {pair.key.name: pair.value for pair in description.typed_search_attributes if pair.key.name in ours}

    async def exists(self, workflow_id: str) -> bool:
        """Whether there ever was such a workflow."""
        try:
            await self.client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True


def _services(script: Script, gateway: GatewayStandIn) -> list[Service]:
    oracle: Any = OracleStandIn(script)
    policy: Any = PolicyStandIn(script)
    pool: Any = PoolStandIn(script)
    chain: Any = gateway
    return [
        Service(
            oracle_pb.DESCRIPTOR.services_by_name["OracleService"],
            lambda server: oracle_grpc.add_OracleServiceServicer_to_server(oracle, server),
        ),
        Service(
            policy_pb.DESCRIPTOR.services_by_name["PolicyService"],
            lambda server: policy_grpc.add_PolicyServiceServicer_to_server(policy, server),
        ),
        Service(
            pool_pb.DESCRIPTOR.services_by_name["PoolService"],
            lambda server: pool_grpc.add_PoolServiceServicer_to_server(pool, server),
        ),
        Service(
            gateway_pb.DESCRIPTOR.services_by_name["ChainGatewayService"],
            lambda server: gateway_grpc.add_ChainGatewayServiceServicer_to_server(chain, server),
        ),
    ]


@asynccontextmanager
async def open_world(client: Client) -> AsyncIterator[World]:
    """Serves the stand-ins; no worker yet. What is still open at the end is terminated."""
    script = Script()
    gateway = GatewayStandIn(script)
    process = Process("127.0.0.1:0", 0, _services(script, gateway), TestTokens())
    server, port, _ = await start_server(process)
    channel = open_channel(f"127.0.0.1:{port}", _WorkflowsToken())
    try:
        yield World(client, script, gateway, channel)
    finally:
        async for running in client.list_workflows("ExecutionStatus = 'Running'"):
            await client.get_workflow_handle(running.id, run_id=running.run_id).terminate()
        await channel.close()
        await server.stop(None)

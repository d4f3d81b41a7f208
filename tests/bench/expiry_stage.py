"""The whole stack while many policies end at one height: how far the books are, and what each process takes."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import grpc
import psutil
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc

from deploy.devnet.driver import DevnetClient
from deploy.local.layout import SERVICES
from kernel.clock import wall_now
from kernel.ids import new_id
from services.identity.keys import load_key_set
from tests.bench.background import running
from tests.bench.processes import Metadata
from tests.load.due_books import fill
from tests.load.node.plan import EXPIRATION_BURN_HEIGHT, GRACE_BLOCKS, PlannedPolicy, planned
from tests.load.stack_on_node import DEPLOYER, OPERATOR, StackOnNode

# Between two burn blocks, which are ten minutes apart on a real chain: what is not final is not in the books.
_BURN_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.5
_ACTIVATE_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 2_400.0
_MEGABYTE: Final = 1 << 20
_PROCESSES: Final = (*SERVICES, "workflows", "temporal", "devnet")
_OPEN: Final = (
    "SELECT count(*) FROM policy.policy WHERE state IN ('ACTIVE', 'EXPIRING') AND expiration_burn_height = $1"
)
_COVERED: Final = "SELECT count(*) FROM pool.coverage WHERE status = 'ACTIVE' AND expiration_burn_height = $1"
_SETTLING: Final = "SELECT count(*) FROM policy.policy WHERE state = 'SETTLING'"
_ENDS: Final = """
SELECT count(*) FROM (
    SELECT policy_id FROM policy.policy_history JOIN policy.policy ON policy.id = policy_id
    WHERE to_state IN ('SETTLED', 'EXPIRED') AND expiration_burn_height = $1 GROUP BY policy_id HAVING count(*) = 1
) once
"""
_SETTLED: Final = "SELECT count(*) FROM policy.policy WHERE state = 'SETTLED' AND expiration_burn_height = $1"


@dataclass
class ExpiryStage:
    """A running stack whose books know all planned policies, none of them due yet."""

    stack: StackOnNode
    devnet: DevnetClient
    books: asyncpg.Pool
    policies: Sequence[PlannedPolicy]
    late: Sequence[PlannedPolicy]
    answered_ms: list[float] = field(default_factory=list)

    async def until_ended(self) -> float:
        """Seconds from the burn block that makes the policies due until all have ended in both services' books."""
        height = (await self.devnet.clock()).burn_height
        start = time.monotonic()
        await self.devnet.mine_burn_blocks(EXPIRATION_BURN_HEIGHT + GRACE_BLOCKS + 2 - height)
        async with running(self._mine()), running(self._activate()), asyncio.timeout(_PATIENCE_SECONDS):
            while await self.left():
                await asyncio.sleep(_LOOK_SECONDS)
            seconds = time.monotonic() - start
            while await self.books.fetchval(_SETTLING):
                await asyncio.sleep(_LOOK_SECONDS)
        return seconds

    async def left(self) -> int:
        """How many have not ended, in the books that have more of them."""
        return max([int(await self.books.fetchval(count, EXPIRATION_BURN_HEIGHT)) for count in (_OPEN, _COVERED)])

    async def _mine(self) -> None:
        while True:
            await asyncio.sleep(_BURN_SECONDS)
            await self.devnet.mine_burn_blocks(1)

    async def _activate(self) -> None:
        """Each of the late policies once, by its holder, until there are no more."""
        async with grpc.aio.insecure_channel(self.stack.layout.address("policy")) as channel:
            stub = policy_grpc.PolicyServiceStub(channel)
            for policy in self.late:
                request = policy_pb.ActivatePolicyRequest(request_id=new_id(), name=f"policies/{policy.policy_id}")
                metadata, start = self._as(policy.holder.text, "HOLDER"), time.perf_counter()
                await stub.ActivatePolicy(request, metadata=metadata)
                self.answered_ms.append((time.perf_counter() - start) * 1000)
                await asyncio.sleep(_ACTIVATE_SECONDS)

    async def ended_once(self) -> tuple[int, int]:
        """How many of the due policies have one end in their history, and how many of them were paid."""
        ends = await self.books.fetchval(_ENDS, EXPIRATION_BURN_HEIGHT)
        return int(ends), int(await self.books.fetchval(_SETTLED, EXPIRATION_BURN_HEIGHT))

    async def differences(self) -> int:
        """What a reconciliation of ledger, policies and contracts finds."""
        async with grpc.aio.insecure_channel(self.stack.layout.address("pool")) as channel:
            stub, metadata = pool_grpc.PoolServiceStub(channel), self._as(OPERATOR, "OPERATOR")
            request = pool_pb.RunReconciliationRequest(request_id=new_id())
            name = (await stub.RunReconciliation(request, metadata=metadata)).name
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    try:
                        asked = pool_pb.GetReconciliationRequest(name=name)
                        report = (await stub.GetReconciliation(asked, metadata=metadata)).reconciliation
                        return len(report.differences)
                    except grpc.aio.AioRpcError as error:
                        if error.code() is not grpc.StatusCode.NOT_FOUND:
                            raise
                    await asyncio.sleep(_LOOK_SECONDS)

    def _as(self, principal: str, role: str) -> Metadata:
        """A token of the identity service's own key, as its sign-in issues them."""
        now = wall_now()
        keys = load_key_set(self.stack.keys.token_key, ())
        token = keys.issue(principal, [role], new_id(), now, now + dt.timedelta(hours=2))
        return (("authorization", f"Bearer {token}"),)

    def megabytes(self) -> dict[str, float]:
        """Resident memory of each process now."""
        return {name: self._process(name).memory_info().rss / _MEGABYTE for name in _PROCESSES}

    def processor_seconds(self) -> dict[str, float]:
        """Processor time that each process has taken so far."""
        times = {name: self._process(name).cpu_times() for name in _PROCESSES}
        return {name: one.user + one.system for name, one in times.items()}

    def _process(self, name: str) -> psutil.Process:
        process = self.stack.processes.running(name)
        assert process is not None, name
        return process


@asynccontextmanager
async def expiry_stage(folder: Path, due: int, late: int) -> AsyncIterator[ExpiryStage]:
    """So many policies due at one height, and so many late ones to activate."""
    stack, policies = StackOnNode(folder, due, late), list(planned(due, late))
    try:
        await stack.start()
        await fill(stack.database_url, policies, f"{DEPLOYER}.liquidity-pool-vault")
        async with DevnetClient(stack.layout.node_url) as devnet, asyncpg.create_pool(stack.database_url) as books:
            yield ExpiryStage(stack, devnet, books, policies[:due], policies[due:])
    finally:
        stack.stop()

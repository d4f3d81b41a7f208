"""Carries contracts and policy books to the pool page by page, and has it compare them with its ledger.

What the policy service says differently it is asked to heal; the pool tells it as healed when a later reading agrees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.policy.v1 import policy_service_pb2 as policy_pb2
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from temporalio import activity

from kernel.errors import BitHedgeError
from kernel.rpc.channels import remote_errors
from workflows import steps
from workflows.failures import service_calls

_PAGE: Final = 200
# The projectors have not yet followed the chain to the snapshot's height; a page that the pool forgot is read again.
_AGAIN: Final = ("BOOKS_BEHIND", "RECONCILIATION_PAGE_MISSING")
# What was handed over fits no more; whatever else goes wrong passes, and leaves the pages where they are.
_ANEW: Final = ("SNAPSHOT_PASSED", "RECONCILIATION_PAGE_MISSING")
_HEARTBEAT_SECONDS: Final = 10.0
# A million policies take the pool a minute or two; without an answer it is asked again, and makes one report.
_COMPARISON_SECONDS: Final = 600.0


@dataclass
class _Read:
    """How far both books are with the pool: their last pages, without the policies.

    The totals have the least height of their pages, `latest` is the greatest.
    """

    contracts: gateway_pb2.GetContractSnapshotResponse | None = None
    totals: policy_pb2.ListPolicyTotalsResponse | None = None
    latest: int = 0

    def beat(self) -> None:
        """Tells whoever retries where to go on."""
        pages = [page.SerializeToString().hex() for page in (self.contracts, self.totals) if page]
        activity.heartbeat(*pages, *([str(self.latest)] if self.totals else []))


class ReconciliationActivities:
    """One step, idempotent by the name of its reconciliation."""

    def __init__(self, pool: grpc.aio.Channel, policy: grpc.aio.Channel, gateway: grpc.aio.Channel) -> None:
        self._pool = pool_grpc.PoolServiceStub(pool)
        self._policy = policy_grpc.PolicyServiceStub(policy)
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)

    @activity.defn
    async def reconcile(self, step: steps.ReconciliationStep) -> steps.ReconciliationResult:
        """Hands both books to the pool in pages and has it compare them.

        A retry goes on where the attempt before it was; what does not fit any more is read from the beginning.
        """
        with service_calls(*_AGAIN):
            before = _before()
            if before.contracts is not None:
                try:
                    with remote_errors():
                        return await self._reconcile(step.reconciliation, before)
                except BitHedgeError as error:
                    if error.reason not in _ANEW:
                        raise
                    activity.logger.info("reconciliation reads again from the beginning: %s", error.reason)
            return await self._reconcile(step.reconciliation, _Read())

    async def _reconcile(self, name: str, read: _Read) -> steps.ReconciliationResult:
        contracts = await self._hand_contracts(name, read)
        totals = await self._hand_totals(name, read)
        # The other book took a while: the chain may have left the block meanwhile, and then nothing is compared.
        await self._gateway.GetContractSnapshot(
            gateway_pb2.GetContractSnapshotRequest(page_size=1, block_hash=contracts.block_hash)
        )
        beating = asyncio.ensure_future(_keep_beating(read))
        try:
            comparison = pb.CompareReconciliationRequest(
                name=name,
                contracts=contracts,
                policies_projected_burn_height=totals.projected_burn_height,
                policies_latest_burn_height=read.latest,
            )
            differing = await self._pool.CompareReconciliation(comparison, timeout=_COMPARISON_SECONDS)
            reread, latest = await self._heal(differing.policies)
            request = pb.CreateReconciliationRequest(
                name=name,
                contracts=contracts,
                policies_projected_burn_height=totals.projected_burn_height,
                staged=True,
                policies_latest_burn_height=max(read.latest, latest),
                reread_policies=reread,
            )
            answer = await self._pool.CreateReconciliation(request, timeout=_COMPARISON_SECONDS)
        finally:
            beating.cancel()
        report = answer.reconciliation
        return steps.ReconciliationResult(report.name, len(report.differences), report.policies_compared)

    async def _heal(self, policies: Sequence[str]) -> tuple[Sequence[pb.RereadPolicy], int]:
        """What the policy service says of policies once it has healed what it can, and at which burn height."""
        if not policies:
            return (), 0
        healing = await self._policy.HealPolicies(
            policy_pb2.HealPoliciesRequest(policies=policies), timeout=_COMPARISON_SECONDS
        )
        page = await self._policy.ListPolicyTotals(policy_pb2.ListPolicyTotalsRequest(policies=policies))
        totals = {total.policy: total for total in page.policies}
        reread = [
            pb.RereadPolicy(policy=one.policy, outcome=one.outcome, total=totals.get(one.policy))
            for one in healing.healings
        ]
        return reread, page.projected_burn_height

    async def _hand_contracts(self, name: str, read: _Read) -> gateway_pb2.GetContractSnapshotResponse:
        while read.contracts is None or read.contracts.next_after_onchain_id:
            last = read.contracts or gateway_pb2.GetContractSnapshotResponse()
            after = last.next_after_onchain_id
            page = await self._gateway.GetContractSnapshot(
                gateway_pb2.GetContractSnapshotRequest(
                    after_onchain_id=after, page_size=_PAGE, block_hash=last.block_hash
                )
            )
            await self._hand(pb.AddReconciliationPageRequest(name=name, after_onchain_id=after, contracts=page))
            del page.policies[:]
            read.contracts = page
            read.beat()
        return read.contracts

    async def _hand_totals(self, name: str, read: _Read) -> policy_pb2.ListPolicyTotalsResponse:
        while read.totals is None or read.totals.next_after_onchain_id:
            after = read.totals.next_after_onchain_id if read.totals else 0
            page = await self._policy.ListPolicyTotals(
                policy_pb2.ListPolicyTotalsRequest(after_onchain_id=after, page_size=_PAGE)
            )
            await self._hand(pb.AddReconciliationPageRequest(name=name, after_onchain_id=after, policies=page))
            del page.policies[:]
            read.latest = max(read.latest, page.projected_burn_height)
            if read.totals is not None:
                page.projected_burn_height = min(page.projected_burn_height, read.totals.projected_burn_height)
            read.totals = page
            read.beat()
        return read.totals

    async def _hand(self, page: pb.AddReconciliationPageRequest) -> None:
        await self._pool.AddReconciliationPage(page, timeout=_COMPARISON_SECONDS if not page.after_onchain_id else None)


def _before() -> _Read:
    """Where the attempt before this one was."""
    told = list(activity.info().heartbeat_details)
    read = _Read()
    if told:
        read.contracts = gateway_pb2.GetContractSnapshotResponse.FromString(bytes.fromhex(told[0]))
    if len(told) > 1:
        read.totals = policy_pb2.ListPolicyTotalsResponse.FromString(bytes.fromhex(told[1]))
        read.latest = int(told[2]) if len(told) > 2 else read.totals.projected_burn_height
    return read


async def _keep_beating(read: _Read) -> None:
    while True:
        read.beat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)

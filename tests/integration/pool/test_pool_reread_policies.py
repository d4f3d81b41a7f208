"""What the policy service says after it was asked to heal: told as healed only where it agrees, and checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import InvalidArgument
from kernel.rpc.channels import remote_errors
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool

_HEALED, _PERSON = pb.DIFFERENCE_RESOLUTION_HEALED, pb.DIFFERENCE_RESOLUTION_PERSON


async def _stage(pool: RunningPool, said: pb.CreateReconciliationRequest) -> pb.CreateReconciliationRequest:
    """Stages both books of a request; the request that follows."""
    contracts = pb.AddReconciliationPageRequest(name=said.name, contracts=said.contracts)
    totals = policy_pb.ListPolicyTotalsResponse(policies=said.policies)
    for page in (contracts, pb.AddReconciliationPageRequest(name=said.name, policies=totals)):
        await pool.stub.AddReconciliationPage(page, metadata=WORKFLOWS)
    last = pb.CreateReconciliationRequest()
    last.CopyFrom(said)
    del last.contracts.policies[:], last.policies[:]
    last.staged = True
    return last


async def _compare(pool: RunningPool, last: pb.CreateReconciliationRequest) -> list[str]:
    request = pb.CompareReconciliationRequest(
        name=last.name,
        contracts=last.contracts,
        policies_projected_burn_height=last.policies_projected_burn_height,
        policies_latest_burn_height=last.policies_latest_burn_height,
    )
    return list((await pool.stub.CompareReconciliation(request, metadata=WORKFLOWS)).policies)


async def _create(pool: RunningPool, last: pb.CreateReconciliationRequest) -> dict[str, tuple[str, str, int]]:
    with remote_errors():
        report = (await pool.stub.CreateReconciliation(last, metadata=WORKFLOWS)).reconciliation
    assert len({one.subject for one in report.differences}) == len(report.differences)
    return {one.subject: (one.kind, one.cause, one.resolution) for one in report.differences}


async def test_only_what_is_read_again_and_agrees_is_healed(pool: RunningPool) -> None:
    """Of five policies that the service says differently: one agrees now, one is gone from its books, one says what it
    said, one was not asked about, one is refused. What was healed by word alone waits for a person."""
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(*(pool.created(pool.terms(1_000_000 + number), 1 + number) for number in range(5)))
    honest, said = honest_request(pool), honest_request(pool)
    said.name = honest.name
    for total in said.policies:
        total.max_payout.base_units += 1
    last = await _stage(pool, said)
    names = [total.policy for total in said.policies]
    assert await _compare(pool, last) == await _compare(pool, last) == sorted(names)
    healed, refused = policy_pb.HEALING_OUTCOME_HEALED, policy_pb.HEALING_OUTCOME_REFUSED
    last.reread_policies.extend(
        [
            pb.RereadPolicy(policy=names[0], outcome=healed, total=honest.policies[0]),
            pb.RereadPolicy(policy=names[1], outcome=healed),
            pb.RereadPolicy(policy=names[2], outcome=healed, total=said.policies[2]),
            pb.RereadPolicy(policy=names[4], outcome=refused, total=said.policies[4]),
        ]
    )
    differs = "MAX_PAYOUT_DIFFERS"
    assert await _create(pool, last) == {
        names[0]: (differs, "SERVICE_MISSED_EVENT", _HEALED),
        names[1]: ("POLICY_MISSING_IN_SERVICE", "NOT_FROM_EVENTS", _PERSON),
        names[2]: (differs, "NOT_FROM_EVENTS", _PERSON),
        names[3]: (differs, "SERVICE_MISSED_EVENT", _PERSON),
        names[4]: (differs, "SERVICE_REFUSED", _PERSON),
    }


def _unstaged(request: pb.CreateReconciliationRequest) -> None:
    request.staged = False


def _of_another(request: pb.CreateReconciliationRequest) -> None:
    request.reread_policies[0].total.policy = f"policies/{'e' * 32}"


def _unknown_outcome(request: pb.CreateReconciliationRequest) -> None:
    request.reread_policies[0].outcome = 99  # type: ignore[assignment]


def _no_name(request: pb.CreateReconciliationRequest) -> None:
    request.reread_policies[0].policy = request.reread_policies[0].total.policy = "policies/x"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (_unstaged, "reread_policies"),
        (_of_another, "reread_policies.total"),
        (_unknown_outcome, "reread_policies.outcome"),
        (_no_name, "reread_policies.policy"),
    ],
)
async def test_what_was_read_again_is_checked(
    pool: RunningPool, wrong: Callable[[pb.CreateReconciliationRequest], None], field: str
) -> None:
    """Books that are not staged, a total of another policy, an unknown outcome, no name: the field is named."""
    name = f"policies/{'f' * 32}"
    total = policy_pb.PolicyTotal(policy=name, state=policy_pb2.POLICY_STATE_ACTIVE)
    request = honest_request(pool)
    request.staged = True
    request.reread_policies.add(policy=name, outcome=policy_pb.HEALING_OUTCOME_HEALED, total=total)
    wrong(request)
    with pytest.raises(InvalidArgument) as refused:
        await _create(pool, request)
    assert refused.value.metadata["field"] == field

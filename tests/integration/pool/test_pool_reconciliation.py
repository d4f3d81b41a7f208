"""Reconciliation over gRPC: three books brought to one point, reported once, found again."""

from __future__ import annotations

from collections import Counter

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2, policy_service_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.errors import FailedPrecondition, InvalidArgument, NotFound
from kernel.ids import new_id
from kernel.rpc.channels import remote_errors
from kernel.units import Token
from services.pool import convert_reports, store_stage
from services.pool.comparison import Books
from services.pool.staging import add_page
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import OPERATOR, WORKFLOWS, RunningPool, amount_of, collateral_of

_ACTIVE, _SETTLED = 0, 1


def _snapshot(
    pool: RunningPool, accounted: int, locked: int, fees: int, *pending: event_pb2.ChainEvent
) -> gateway_pb2.GetContractSnapshotResponse:
    return gateway_pb2.GetContractSnapshotResponse(
        block_hash="ab",
        burn_height=pool.gateway.burn_height,
        final_burn_height=pool.gateway.burn_height - 1,
        balances=[
            gateway_pb2.VaultBalance(
                token=money_pb2.TOKEN_STX,
                actual_base_units=accounted,
                accounted_base_units=accounted,
                locked_base_units=locked,
                fees_base_units=fees,
            ),
            gateway_pb2.VaultBalance(token=money_pb2.TOKEN_SBTC),
        ],
        pending_events=pending,
    )


def _add(
    request: pb.CreateReconciliationRequest,
    terms: transaction_pb2.QuoteTerms,
    status: int,
    state: policy_pb2.PolicyState.ValueType,
    payouts: tuple[int, int] = (0, 0),
) -> None:
    collateral = amount_of(Token.STX, collateral_of(terms))
    number = len(request.contracts.policies) + 1
    request.contracts.policies.append(
        gateway_pb2.ContractPolicy(
            onchain_id=number, policy=terms.policy, status=status, max_payout=collateral, payout_base_units=payouts[0]
        )
    )
    request.policies.append(
        policy_service_pb2.PolicyTotal(
            onchain_id=number, policy=terms.policy, state=state, max_payout=collateral, payout_base_units=payouts[1]
        )
    )


def _request(pool: RunningPool, snapshot: gateway_pb2.GetContractSnapshotResponse) -> pb.CreateReconciliationRequest:
    return pb.CreateReconciliationRequest(
        name=f"reconciliations/{new_id()}",
        contracts=snapshot,
        policies_projected_burn_height=pool.gateway.burn_height - 1,
    )


async def _reconcile(pool: RunningPool, request: pb.CreateReconciliationRequest) -> pb.Reconciliation:
    return (await pool.stub.CreateReconciliation(request, metadata=WORKFLOWS)).reconciliation


async def test_books_that_agree_are_reported_without_difference(pool: RunningPool) -> None:
    """An open and a settled policy, fees, and a deposit that is not final yet; the report is found again."""
    open_terms, settled_terms = pool.terms(1_000_000), pool.terms(2_000_000)
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(pool.created(open_terms, 1), pool.created(settled_terms, 2))
    await pool.final(pool.settled(settled_terms, 2, 500))
    pending = pool.deposited("SP-BOB", 9)
    accounted = 10**12 + 2 * 1_010 - 500 + 9
    request = _request(pool, _snapshot(pool, accounted, collateral_of(open_terms), 20, pending))
    _add(request, open_terms, _ACTIVE, policy_pb2.POLICY_STATE_SETTLING)
    _add(request, settled_terms, _SETTLED, policy_pb2.POLICY_STATE_SETTLED, (500, 500))
    report = await _reconcile(pool, request)
    assert list(report.differences) == []
    assert (report.policies_compared, report.accounts_compared) == (2, 6)
    await pool.final(pending)
    assert await _reconcile(pool, request) == report
    for name in (report.name, "reconciliations/latest"):
        found = await pool.stub.GetReconciliation(pb.GetReconciliationRequest(name=name), metadata=OPERATOR)
        assert found.reconciliation == report


async def test_a_ledger_ahead_of_the_snapshot_is_wound_back(pool: RunningPool) -> None:
    """Events that became final after the snapshot are not held against it."""
    terms = pool.terms(1_000_000)
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(pool.created(terms, 1))
    request = _request(pool, _snapshot(pool, 10**12 + 1_010, collateral_of(terms), 10))
    await pool.final(pool.settled(terms, 1, 500), pool.deposited("SP-BOB", 7))
    request.policies_projected_burn_height += 1
    _add(request, terms, _ACTIVE, policy_pb2.POLICY_STATE_SETTLED, (0, 500))
    assert list((await _reconcile(pool, request)).differences) == []


async def test_what_differs_is_named_with_what_each_book_says(pool: RunningPool) -> None:
    """A vault that accounts for less and a policy that the service believes expired are each reported."""
    terms = pool.terms(1_000_000)
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(pool.created(terms, 1))
    request = _request(pool, _snapshot(pool, 10**12, collateral_of(terms), 10))
    _add(request, terms, _ACTIVE, policy_pb2.POLICY_STATE_EXPIRED)
    report = await _reconcile(pool, request)
    assert [(difference.kind, difference.subject) for difference in report.differences] == [
        ("ACCOUNTED_DIFFERS", "STX"),
        ("STATE_DIFFERS", terms.policy),
    ]
    assert report.differences[0].contracts_say == str(10**12)
    assert report.differences[0].ledger_says == str(10**12 + 1_010)
    assert all(difference.likely_cause for difference in report.differences)


async def test_books_behind_the_snapshot_are_asked_again_later(pool: RunningPool) -> None:
    """Neither ledger nor policy service may lag what was final, nor the service be ahead of the ledger."""
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    snapshot = _snapshot(pool, 10**12, 0, 0)
    lagging, ahead, early, torn = [_request(pool, snapshot) for _ in range(4)]
    lagging.policies_projected_burn_height -= 1
    ahead.policies_projected_burn_height += 1
    early.contracts.final_burn_height += 1
    # A later page of the policy service was read when it was further than the first, and than the ledger.
    torn.policies_latest_burn_height = torn.policies_projected_burn_height + 1
    for request in (lagging, ahead, early, torn):
        with pytest.raises(FailedPrecondition) as behind, remote_errors():
            await _reconcile(pool, request)
        assert behind.value.reason == "BOOKS_BEHIND"


async def test_an_operator_starts_a_reconciliation_once(pool: RunningPool) -> None:
    """The name is answered at once, the workflow is started once, and the report is not there yet."""
    request = pb.RunReconciliationRequest(request_id="now")
    first = await pool.stub.RunReconciliation(request, metadata=OPERATOR)
    assert await pool.stub.RunReconciliation(request, metadata=OPERATOR) == first
    starts = await pool.outbox("start")
    assert [start["input"]["reconciliation"] for start in starts] == [first.name]
    with pytest.raises(NotFound), remote_errors():
        await pool.stub.GetReconciliation(pb.GetReconciliationRequest(name=first.name), metadata=OPERATOR)
    with pytest.raises(InvalidArgument), remote_errors():
        await pool.stub.GetReconciliation(pb.GetReconciliationRequest(name="latest"), metadata=OPERATOR)


async def test_pages_of_any_size_find_the_same(pool: RunningPool) -> None:
    """Policies that one of the three books does not have, first, last and in between: the same differences in the same
    order, and each policy counted once."""
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(*(pool.created(pool.terms(1_000_000 + number), 1 + number) for number in range(7)))
    request = honest_request(pool)
    del request.contracts.policies[2], request.policies[4]
    for digit in "0f":
        request.policies.add(policy=f"policies/{digit * 32}", state=policy_pb2.POLICY_STATE_ACTIVE).max_payout.CopyFrom(
            amount_of(Token.STX, 100)
        )
    collateral = amount_of(Token.STX, 100)
    request.contracts.policies.add(onchain_id=9, policy=f"policies/{'e' * 32}", max_payout=collateral)
    compared = []
    snapshot = convert_reports.snapshot(request)
    for book in convert_reports.whole_books(request):
        await add_page(pool.database, "staged", book)
    for page in (1, 2, 3, 6, 7, 8):
        async with pool.database.snapshot() as session:
            covered = await store_stage.covered(session, "staged")
            books = Books(session, "staged", snapshot, pool.gateway.burn_height - 1, ())
            compared.append(await books.compare(covered, page))
    assert [one for one in compared if one != compared[0]] == []
    assert compared[0].policies == 10
    names = [one.subject.removeprefix("policies/") for one in compared[0].differences if "POLICY" in one.kind]
    assert names == sorted(names)
    assert Counter(one.kind for one in compared[0].differences if "POLICY" in one.kind) == {
        "POLICY_NOT_ON_CHAIN": 4,
        "POLICY_MISSING_IN_LEDGER": 1,
        "POLICY_MISSING_IN_SERVICE": 2,
    }

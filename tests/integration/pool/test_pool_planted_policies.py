"""Reconciliation against differences planted in the policy service's own books, with both services running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.ids import new_id
from tests.integration.pool.both_services import Both, both_services
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool

_HEALED, _PERSON = pb.DIFFERENCE_RESOLUTION_HEALED, pb.DIFFERENCE_RESOLUTION_PERSON
_MISSED, _CHANGED = "SERVICE_MISSED_EVENT", "CHANGED_BY_HAND"
_INVENTED = "f" * 32
_ROW = "policy.policy"

Act = Callable[[Both], Awaitable[None]]


@pytest.fixture
async def both(pool: RunningPool, database_url: str) -> AsyncIterator[Both]:
    """Both services, which agree."""
    async with both_services(pool, database_url) as running:
        await running.follow()
        yield running


def _by_hand(*statements: str) -> Act:
    async def act(both: Both) -> None:
        await both.by_hand(*statements)

    return act


async def _nothing(both: Both) -> None:
    """Leaves it as it is."""


async def _missed_settlement(both: Both) -> None:
    """The policy service's cursor passes a settlement that the pool has taken in."""
    await both.pool.final(both.pool.settled(both.scene.terms, 1, 500))
    await both.skip()


async def _missed_expiry(both: Both) -> None:
    """The same of an expiry."""
    await both.pool.final(both.pool.expired(both.scene.terms, 1))
    await both.skip()


async def _another_payout(both: Both) -> None:
    """A settled policy of which another payout is believed."""
    await both.pool.final(both.pool.settled(both.scene.terms, 1, 500))
    await both.follow()
    await both.by_hand(f"UPDATE {_ROW} SET payout_base_units = 499")


async def _ended_without_payment(both: Both) -> None:
    """A creation that comes after the policy service has given its quote up, and which it leaves to a person."""
    await both.by_hand(
        f"UPDATE {_ROW} SET state = 'FAILED_CREATION'",
        "UPDATE policy.policy_history SET to_state = 'FAILED_CREATION', cause = 'CREATED_AFTER_FAILURE'",
    )


async def _invent(both: Both) -> None:
    """A policy that the chain never had."""
    await both.by_hand(
        f"CREATE TEMPORARY TABLE invented ON COMMIT DROP AS SELECT * FROM {_ROW}",
        f"UPDATE invented SET id = '{_INVENTED}', onchain_id = 9",
        f"INSERT INTO {_ROW} SELECT * FROM invented",
    )


@dataclass(frozen=True)
class Case:
    """`found` is (kind, cause); HEALED unless a person has to `correct` it."""

    name: str
    found: tuple[str, str]
    plant: Act
    correct: Act | None = None


_CASES = (
    Case("without policy", ("POLICY_MISSING_IN_SERVICE", _MISSED), _by_hand(f"DELETE FROM {_ROW}")),
    Case("settlement missed", ("STATE_DIFFERS", _MISSED), _missed_settlement),
    Case("expiry missed", ("STATE_DIFFERS", _MISSED), _missed_expiry),
    Case("in another state", ("STATE_DIFFERS", _MISSED), _by_hand(f"UPDATE {_ROW} SET state = 'EXPIRED'")),
    Case("with another payout", ("PAYOUT_DIFFERS", _MISSED), _another_payout),
    Case(
        "with another amount",
        ("MAX_PAYOUT_DIFFERS", _MISSED),
        _by_hand(f"UPDATE {_ROW} SET max_payout_base_units = max_payout_base_units + 1"),
    ),
    Case(
        "with other terms",
        ("TERMS_DIFFER_IN_SERVICE", _CHANGED),
        _by_hand(f"UPDATE {_ROW} SET strike_price_usd_e8 = strike_price_usd_e8 + 1, holder_principal = 'SP-NOBODY'"),
    ),
    Case(
        "with an invented policy",
        ("POLICY_NOT_ON_CHAIN", "SERVICE_AHEAD"),
        _invent,
        _by_hand(f"DELETE FROM {_ROW} WHERE id = '{_INVENTED}'"),
    ),
    Case(
        "which gave the quote up",
        ("STATE_DIFFERS", "CREATED_AFTER_FAILURE"),
        _ended_without_payment,
        _by_hand(
            f"UPDATE {_ROW} SET state = 'ACTIVE'",
            "UPDATE policy.policy_history SET to_state = 'ACTIVE', cause = 'CREATED_ON_CHAIN'",
        ),
    ),
)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_a_difference_in_the_policy_services_books_is_named_and_then_gone(both: Both, case: Case) -> None:
    """Healed from the chain's events, and told so once it is read again; or left to a person with the cause."""
    assert list((await both.reconcile()).differences) == []
    await case.plant(both)
    report = await both.reconcile()
    became = _HEALED if case.correct is None else _PERSON
    assert [(one.kind, one.cause, one.resolution) for one in report.differences] == [(*case.found, became)]
    await (case.correct or _nothing)(both)
    assert list((await both.reconcile()).differences) == []


async def test_what_was_healed_before_an_attempt_died_is_told_by_the_next(both: Both) -> None:
    """Killed between healing and report: the next attempt goes on, and the report has the difference as healed."""
    await both.by_hand(f"UPDATE {_ROW} SET max_payout_base_units = 1")
    name, honest = f"reconciliations/{new_id()}", honest_request(both.pool)
    totals = await both.policies.ListPolicyTotals(policy_pb.ListPolicyTotalsRequest(), metadata=WORKFLOWS)
    for page in (
        pb.AddReconciliationPageRequest(name=name, contracts=honest.contracts),
        pb.AddReconciliationPageRequest(name=name, policies=totals),
    ):
        await both.pool.stub.AddReconciliationPage(page, metadata=WORKFLOWS)
    contracts = gateway_pb2.GetContractSnapshotResponse()
    contracts.CopyFrom(honest.contracts)
    del contracts.policies[:], totals.policies[:]
    comparison = pb.CompareReconciliationRequest(
        name=name, contracts=contracts, policies_projected_burn_height=totals.projected_burn_height
    )
    named = [
        list((await both.pool.stub.CompareReconciliation(comparison, metadata=WORKFLOWS)).policies) for _ in range(2)
    ]
    assert named == [[both.scene.terms.policy]] * 2
    await both.policies.HealPolicies(policy_pb.HealPoliciesRequest(policies=named[0]), metadata=WORKFLOWS)
    told = [contracts.SerializeToString().hex(), totals.SerializeToString().hex(), str(totals.projected_burn_height)]
    report = await both.reconcile(name, told)
    assert [(one.kind, one.resolution) for one in report.differences] == [("MAX_PAYOUT_DIFFERS", _HEALED)]
    answer = await both.pool.stub.CompareReconciliation(comparison, metadata=WORKFLOWS)
    assert list(answer.policies) == []
    assert await both.reconcile(name) == report
    assert await both.pool.scalar("SELECT count(*) FROM pool.reconciliation_found") == 0

"""DepositLiquidity, WithdrawLiquidity and Reconcile on a real Temporal server."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.type.v1 import money_pb2
from google.protobuf.message import Message
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from kernel.errors import Aborted, FailedPrecondition, Unavailable
from tests.workflows.stand_ins import SIGNATURE, unavailable
from tests.workflows.world import World, eventually
from workflows import steps
from workflows.activities.reconciliation import ReconciliationActivities
from workflows.contract import (
    DepositLiquidityInput,
    ReconcileInput,
    SignalName,
    Start,
    WithdrawLiquidityInput,
    start_deposit_liquidity,
    start_reconcile,
    start_withdraw_liquidity,
)
from workflows.failures import queue_calls, service_calls
from workflows.schedules import RECONCILIATION, create_schedules


def withdrawal() -> Start:
    """A new withdrawal."""
    name = f"withdrawals/{uuid.uuid4().hex}"
    return start_withdraw_liquidity(WithdrawLiquidityInput(name, "ST1PROVIDER", "BALANCED"))


async def test_a_deposit_gets_its_shares_once_there_is_a_price(world: World) -> None:
    """The pool is asked until it can price; its shares are the result."""
    world.script.on("PriceDeposit", unavailable("NO_PRICE_YET"), unavailable("NO_PRICE_YET"))
    name = f"deposits/{uuid.uuid4().hex}-0"
    start = start_deposit_liquidity(DepositLiquidityInput(name, "ST1PROVIDER", "BALANCED"))
    await world.start(start)
    assert await world.result(start.workflow_id) == {"shares": 77}
    assert [asked.name for asked in world.script.asked("PriceDeposit")] == [name] * 3
    assert await world.attributes(start.workflow_id) == {"Holder": "ST1PROVIDER", "Tier": "BALANCED"}


def test_who_waits_for_more_than_a_price_is_asked_for_less_often() -> None:
    """Who is told to wait for others, or for policies to end, carries the pause until the next question."""
    for reason in ("WITHDRAWAL_QUEUED", "TIER_WORTHLESS", "DEPOSIT_BELOW_A_SHARE"):
        with pytest.raises(ApplicationError) as waiting, queue_calls(), service_calls():
            raise Unavailable(reason, "wait")
        assert (waiting.value.type, waiting.value.non_retryable) == (reason, False)
        assert waiting.value.next_retry_delay is not None
        assert waiting.value.next_retry_delay >= dt.timedelta(seconds=10)


async def test_a_refused_withdrawal_signs_no_voucher(world: World) -> None:
    """The pool's reason is the result; the gateway is never asked."""
    refused = pool_pb.Withdrawal(state=pool_pb.WITHDRAWAL_STATE_REFUSED, reason="NOT_FREE")
    world.script.on("PriceWithdrawal", pool_pb.PriceWithdrawalResponse(withdrawal=refused))
    start = withdrawal()
    await world.start(start)
    assert await world.result(start.workflow_id) == {"state": "REFUSED", "reason": "NOT_FREE"}
    assert [name for name, _ in world.script.calls] == ["PriceWithdrawal"]


@pytest.mark.parametrize("end", ["PAID", "LAPSED"])
async def test_a_withdrawal_is_open_until_the_chain_decides(world: World, end: str) -> None:
    """The voucher is signed on the pool's terms and stored; whether it is used or lapses, the chain says."""
    start = withdrawal()
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("RecordVoucher")))
    terms = gateway_pb.VoucherTerms(withdrawal=start.input.withdrawal, provider_principal="ST1PROVIDER")
    assert [asked.terms for asked in world.script.asked("SignVoucher")] == [terms]
    [prepared] = world.script.asked("PrepareTransaction")
    assert (prepared.principal, prepared.public_key) == ("ST1PROVIDER", b"\x02" * 33)
    assert prepared.withdraw == gateway_pb.WithdrawCall(terms=terms, signature=SIGNATURE)
    [recorded] = world.script.asked("RecordVoucher")
    assert (recorded.name, recorded.signature) == (start.input.withdrawal, SIGNATURE)
    await world.signal(start.workflow_id, SignalName.WITHDRAWAL_ENDED, end)
    assert (await world.result(start.workflow_id))["state"] == end


async def test_a_voucher_that_is_never_signed_lapses(world: World) -> None:
    """The shares are burned already: a refused signature leaves the withdrawal to the chain, which lets it lapse."""
    world.script.on("SignVoucher", FailedPrecondition("VOUCHER_TOO_OLD", "too late"))
    start = withdrawal()
    await world.start(start)
    await world.signal(start.workflow_id, SignalName.WITHDRAWAL_ENDED, "LAPSED")
    assert await world.result(start.workflow_id) == {"state": "LAPSED", "reason": "VOUCHER_TOO_OLD"}
    assert not world.script.asked("RecordVoucher")


def _snapshot(after: int, next_after: int) -> gateway_pb.GetContractSnapshotResponse:
    return gateway_pb.GetContractSnapshotResponse(
        block_hash="aa",
        balances=[gateway_pb.VaultBalance(token=money_pb2.TOKEN_STX, locked_base_units=10)],
        policies=[gateway_pb.ContractPolicy(onchain_id=after + 1), gateway_pb.ContractPolicy(onchain_id=after + 2)],
        next_after_onchain_id=next_after,
    )


def _totals(after: int, next_after: int, height: int) -> policy_pb.ListPolicyTotalsResponse:
    return policy_pb.ListPolicyTotalsResponse(
        policies=[policy_pb.PolicyTotal(onchain_id=after + 1)],
        next_after_onchain_id=next_after,
        projected_burn_height=height,
    )


def _handed(world: World) -> list[tuple[str | None, int, list[int]]]:
    """Each page that the pool got: its book, its place, its policies."""
    return [
        (book, page.after_onchain_id, [one.onchain_id for one in getattr(page, book or "").policies])
        for page in world.script.asked("AddReconciliationPage")
        for book in [page.WhichOneof("page")]
    ]


_PAGES = [("contracts", 0, [1, 2]), ("contracts", 2, [3, 4]), ("policies", 0, [1]), ("policies", 1, [2])]


async def test_pages_are_handed_on_one_by_one(world: World) -> None:
    """Two pages of each book: each as it was read, then the balances once and both projected heights."""
    world.script.on("GetContractSnapshot", _snapshot(0, 2), _snapshot(2, 0))
    world.script.on("ListPolicyTotals", _totals(0, 1, 900), _totals(1, 0, 901))
    start = start_reconcile(ReconcileInput(f"reconciliations/{uuid.uuid4().hex}"))
    await world.start(start)
    result = await world.result(start.workflow_id)
    assert result["reconciliation"] == start.input.reconciliation
    pages = world.script.asked("GetContractSnapshot")
    assert [(page.after_onchain_id, page.block_hash) for page in pages] == [(0, ""), (2, "aa"), (0, "aa")]
    assert _handed(world) == _PAGES
    [compared] = world.script.asked("CreateReconciliation")
    assert compared.name == start.input.reconciliation
    assert (compared.staged, len(compared.contracts.policies), len(compared.policies)) == (True, 0, 0)
    assert len(compared.contracts.balances) == 1
    assert (compared.policies_projected_burn_height, compared.policies_latest_burn_height) == (900, 901)


async def test_what_the_policy_service_says_differently_is_healed_and_read_again(world: World) -> None:
    """It is asked to heal just what the pool names; what it says then goes to the pool with the later height."""
    names = [f"policies/{number:032x}" for number in (1, 2)]
    world.script.on("GetContractSnapshot", _snapshot(0, 0))
    world.script.on("CompareReconciliation", pool_pb.CompareReconciliationResponse(policies=names))
    total = policy_pb.PolicyTotal(onchain_id=2, policy=names[1])
    again = policy_pb.ListPolicyTotalsResponse(policies=[total], projected_burn_height=905)
    world.script.on("ListPolicyTotals", _totals(0, 0, 900), again)
    start = start_reconcile(ReconcileInput(f"reconciliations/{uuid.uuid4().hex}"))
    await world.start(start)
    await world.result(start.workflow_id)
    [healed], [compared] = world.script.asked("HealPolicies"), world.script.asked("CreateReconciliation")
    assert list(healed.policies) == list(world.script.asked("ListPolicyTotals")[1].policies) == names
    outcome = policy_pb.HEALING_OUTCOME_HEALED
    assert list(compared.reread_policies) == [
        pool_pb.RereadPolicy(policy=names[0], outcome=outcome),
        pool_pb.RereadPolicy(policy=names[1], outcome=outcome, total=total),
    ]
    assert (compared.policies_projected_burn_height, compared.policies_latest_burn_height) == (900, 905)


async def test_books_that_are_behind_and_a_tip_that_moved_are_asked_again(world: World) -> None:
    """Whatever stands in the way, the same report is asked for until it is there, once both books are whole."""
    world.script.on("GetContractSnapshot", _snapshot(0, 2), Aborted("TIP_MOVED", "restart"))
    world.script.on(
        "CreateReconciliation",
        FailedPrecondition("BOOKS_BEHIND", "not yet"),
        FailedPrecondition("RECONCILIATION_PAGE_MISSING", "forgotten"),
    )
    start = start_reconcile(ReconcileInput(f"reconciliations/{uuid.uuid4().hex}"))
    await world.start(start)
    await world.result(start.workflow_id)
    asked = world.script.asked("CreateReconciliation")
    assert {one.name for one in asked} == {start.input.reconciliation}
    assert (len(asked), {one.contracts.next_after_onchain_id for one in asked}) == (3, {0})


async def _retry(world: World, *pages: Message, latest: int | None = None) -> None:
    """The activity as it is retried after an attempt that told of these pages."""
    environment = ActivityEnvironment()
    told = [page.SerializeToString().hex() for page in pages] + ([] if latest is None else [str(latest)])
    environment.info = dataclasses.replace(environment.info, heartbeat_details=told)
    step = steps.ReconciliationStep("reconciliations/x")
    await environment.run(ReconciliationActivities(world.channel, world.channel, world.channel).reconcile, step)


@pytest.mark.parametrize(
    ("told", "latest", "done"),
    [
        ([_snapshot(0, 2)], None, 1),
        ([_snapshot(2, 0)], None, 2),
        ([_snapshot(2, 0), _totals(0, 1, 900)], 900, 3),
        ([_snapshot(2, 0), _totals(1, 0, 900)], 901, 4),
    ],
)
async def test_a_retry_goes_on_where_the_attempt_before_was(
    world: World, told: list[Message], latest: int | None, done: int
) -> None:
    """Killed after each of the four pages: what the pool has is not read again, and both heights are kept."""
    world.script.on("GetContractSnapshot", _snapshot(2, 0))
    world.script.on("ListPolicyTotals", *[_totals(0, 1, 900), _totals(1, 0, 901)][max(0, done - 2) :])
    await _retry(world, *told, latest=latest)
    assert _handed(world) == _PAGES[done:]
    [compared] = world.script.asked("CreateReconciliation")
    assert (compared.policies_projected_burn_height, compared.policies_latest_burn_height) == (900, 901)


async def test_a_retry_whose_block_is_gone_begins_anew(world: World) -> None:
    """The gateway has left the block of the pages: all is read from the beginning, in the same attempt."""
    world.script.on("GetContractSnapshot", Aborted("SNAPSHOT_PASSED", "gone"), _snapshot(0, 2), _snapshot(2, 0))
    world.script.on("ListPolicyTotals", _totals(0, 1, 900), _totals(1, 0, 901))
    await _retry(world, _snapshot(0, 2))
    assert _handed(world) == _PAGES
    assert len(world.script.asked("CreateReconciliation")) == 1


async def test_a_block_that_went_while_the_other_book_was_read_is_not_compared(world: World) -> None:
    """Both books are with the pool when the chain leaves the block: all is read again before anything is compared."""
    world.script.on("GetContractSnapshot", Aborted("SNAPSHOT_PASSED", "gone"), _snapshot(0, 2), _snapshot(2, 0))
    world.script.on("ListPolicyTotals", _totals(0, 1, 900), _totals(1, 0, 901))
    await _retry(world, _snapshot(2, 0), _totals(1, 0, 900), latest=900)
    assert _handed(world) == _PAGES
    assert len(world.script.asked("CompareReconciliation")) == 1


async def test_a_retry_keeps_its_place_while_a_service_is_away(world: World) -> None:
    """A page that cannot be had now, and books that are behind, are no reason to read again what the pool has."""
    world.script.on("GetContractSnapshot", Unavailable("NODE_UNAVAILABLE", "away"))
    with pytest.raises(ApplicationError, match="away"):
        await _retry(world, _snapshot(0, 2))
    world.script.on("CreateReconciliation", FailedPrecondition("BOOKS_BEHIND", "not yet"))
    with pytest.raises(ApplicationError, match="not yet"):
        await _retry(world, _snapshot(2, 0), _totals(1, 0, 900), latest=900)
    asked = world.script.asked("GetContractSnapshot")
    assert [(page.after_onchain_id, page.block_hash) for page in asked] == [(2, "aa"), (0, "aa")]
    assert _handed(world) == []


async def test_the_schedule_reconciles_by_itself_and_is_created_once(world: World) -> None:
    """Two workers create one schedule; each of its runs names its own report."""
    await asyncio.gather(*(create_schedules(world.client, dt.timedelta(hours=1)) for _ in range(2)))
    handle = world.client.get_schedule_handle(RECONCILIATION)
    try:
        await handle.trigger()
        await eventually(lambda: bool(world.script.asked("CreateReconciliation")))
    finally:
        await handle.delete()
    [asked] = world.script.asked("CreateReconciliation")
    assert len(asked.name) == len("reconciliations/") + 32

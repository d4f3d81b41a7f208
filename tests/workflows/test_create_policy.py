"""CreatePolicy on a real Temporal server."""

from __future__ import annotations

import asyncio
import uuid

from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.type.v1 import transaction_pb2
from temporalio.client import Client

from kernel.errors import FailedPrecondition, PermissionDenied
from services.policy.launcher import TemporalLauncher
from tests.workflows.stand_ins import SIGNATURE, unavailable
from tests.workflows.world import World, eventually, labels
from workflows.contract import CreatePolicyInput, SignalName, Start, start_create_policy


def creation() -> Start:
    """The creation of a new policy."""
    return start_create_policy(CreatePolicyInput(labels(f"policies/{uuid.uuid4().hex}"), "02" * 33))


def policy_of(start: Start) -> str:
    """The policy that a creation is about."""
    return str(start.input.labels.policy)


REFUSED_RESERVATION = pool_pb.CreateReservationResponse(
    reservation=pool_pb.Reservation(state=pool_pb.RESERVATION_STATE_REFUSED, reason="TIER_FULL")
)


async def test_a_paid_quote_ends_active(world: World) -> None:
    """Reserve, sign, prepare and store in this order and on the stored terms; then the chain's word is the result."""
    start = creation()
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("RecordSignedQuote")))
    await world.signal(start.workflow_id, SignalName.CREATION_ENDED, "ACTIVE")
    result = await world.result(start.workflow_id)
    assert result == {"policy": policy_of(start), "state": "ACTIVE", "reason": ""}
    steps = [name for name, _ in world.script.calls if name != "GetPolicy"]
    assert steps == ["CreateReservation", "SignQuote", "PrepareTransaction", "RecordSignedQuote"]
    [reserved], [signed] = world.script.asked("CreateReservation"), world.script.asked("SignQuote")
    assert reserved.terms == signed.terms
    assert (reserved.terms.policy, reserved.max_payout_base_units) == (policy_of(start), 1_000)
    [prepared] = world.script.asked("PrepareTransaction")
    assert (prepared.principal, prepared.public_key) == ("ST1HOLDER", b"\x02" * 33)
    assert prepared.create_policy.signature == SIGNATURE
    [recorded] = world.script.asked("RecordSignedQuote")
    assert (recorded.name, recorded.signature) == (policy_of(start), SIGNATURE)
    name = f"preparedTransactions/create/{policy_of(start)}"
    assert recorded.prepared_transaction == transaction_pb2.PreparedTransaction(name=name)


async def test_operators_find_it_by_its_labels_and_type(world: World) -> None:
    """The listing shows the type by name, the labels given at the start, and the state that the chain decided."""
    start = creation()
    await world.start(start)
    await world.signal(start.workflow_id, SignalName.CREATION_ENDED, "FAILED_CREATION")
    await world.result(start.workflow_id)
    policy_id = policy_of(start).rpartition("/")[2]
    query = f"WorkflowType = 'CreatePolicy' AND PolicyId = '{policy_id}' AND PolicyState = 'FAILED_CREATION'"
    async with asyncio.timeout(60):
        while not (found := [row async for row in world.client.list_workflows(query)]):
            await asyncio.sleep(0.05)
    assert [(row.id, row.workflow_type) for row in found] == [(start.workflow_id, "CreatePolicy")]
    assert await world.attributes(start.workflow_id) == {
        "PolicyId": policy_id,
        "Holder": "ST1HOLDER",
        "Tier": "BALANCED",
        "PolicyState": "FAILED_CREATION",
    }


async def test_a_refused_reservation_fails_the_creation_at_once(world: World) -> None:
    """Nothing is signed; the policy fails with the pool's reason, and whoever awaits the quote hears it."""
    world.script.on("CreateReservation", REFUSED_RESERVATION)
    start = creation()
    answer = await world.await_quote(start)
    result = await world.result(start.workflow_id)
    assert answer == "FAILED_CREATION"
    assert (result["state"], result["reason"]) == ("FAILED_CREATION", "TIER_FULL")
    assert [asked.reason for asked in world.script.asked("FailCreation")] == ["TIER_FULL"]
    assert not world.script.asked("SignQuote")
    assert not world.script.asked("CancelReservation")


async def test_a_refused_signature_gives_the_reservation_back(world: World) -> None:
    """The capacity is given back before the policy fails with the gateway's reason."""
    world.script.on("SignQuote", FailedPrecondition("QUOTE_TOO_OLD", "too late"))
    start = creation()
    await world.start(start)
    result = await world.result(start.workflow_id)
    assert (result["state"], result["reason"]) == ("FAILED_CREATION", "QUOTE_TOO_OLD")
    steps = [name for name, _ in world.script.calls if name != "GetPolicy"]
    assert steps == ["CreateReservation", "SignQuote", "CancelReservation", "FailCreation"]


async def test_what_passes_with_time_is_asked_again(world: World) -> None:
    """Unavailable services and refused credentials delay a creation; they never end one."""
    world.script.on("CreateReservation", unavailable(), unavailable())
    world.script.on("SignQuote", unavailable(), PermissionDenied("ROLE_REQUIRED", "not with this token"))
    start = creation()
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("RecordSignedQuote")))
    assert len(world.script.asked("CreateReservation")) == 3
    assert len(world.script.asked("SignQuote")) == 3
    assert not world.script.asked("FailCreation")


async def test_a_signed_quote_that_came_too_late_is_left_to_the_chain(world: World) -> None:
    """Once signed nothing is given back: refused by the policy service, the creation ends by the chain's word alone."""
    world.script.on("RecordSignedQuote", FailedPrecondition("NOT_PENDING", "creation has failed"))
    start = creation()
    assert await world.await_quote(start) == "PENDING_CREATION"
    await world.signal(start.workflow_id, SignalName.CREATION_ENDED, "FAILED_CREATION")
    result = await world.result(start.workflow_id)
    assert (result["state"], result["reason"]) == ("FAILED_CREATION", "NOT_PENDING")
    assert not world.script.asked("CancelReservation")
    assert not world.script.asked("FailCreation")


async def test_a_creation_that_ended_before_any_worker_came_reserves_nothing(workerless: World) -> None:
    """Workers that were away for longer than the quote was good find it over, and touch nothing."""
    start = creation()
    await workerless.start(start)
    await workerless.signal(start.workflow_id, SignalName.CREATION_ENDED, "FAILED_CREATION")
    async with workerless.worker():
        result = await workerless.result(start.workflow_id)
    assert result["state"] == "FAILED_CREATION"
    assert workerless.script.calls == []


async def test_the_policy_service_joins_the_one_workflow(world: World) -> None:
    """Update-with-start beside the outbox's own start, and again: one run, one reservation."""
    start = creation()
    launcher = TemporalLauncher(world.client)
    await asyncio.gather(world.start(start), return_exceptions=True)
    await asyncio.gather(*(launcher.await_quote(start) for _ in range(3)))
    assert len(world.script.asked("RecordSignedQuote")) == 1
    await world.signal(start.workflow_id, SignalName.CREATION_ENDED, "ACTIVE")
    await world.result(start.workflow_id)
    await launcher.await_quote(start)
    query = f"WorkflowId = '{start.workflow_id}'"
    assert len([row async for row in world.client.list_workflows(query)]) == 1
    assert len(world.script.asked("CreateReservation")) == 1


async def test_update_with_start_starts_what_nobody_has_started(world: World) -> None:
    """The call that awaits the quote is enough, and returns once the quote is stored."""
    start = creation()
    await TemporalLauncher(world.client).await_quote(start)
    assert [asked.name for asked in world.script.asked("RecordSignedQuote")] == [policy_of(start)]


async def test_the_policy_service_does_without_temporal() -> None:
    """A Temporal that is not there costs the answer its transaction, not the creation: the outbox starts it later."""
    absent = await Client.connect("127.0.0.1:1", lazy=True)
    await TemporalLauncher(absent).await_quote(creation())

"""ExpirePolicies and PublishPrice on a real Temporal server."""

from __future__ import annotations

import uuid

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb
from bithedge.type.v1 import price_pb2

from kernel.errors import FailedPrecondition, InvalidArgument
from tests.workflows.stand_ins import ABORTED, CANCELLED, CONFIRMED, MINED, RECEIPT, SIGNATURE, unavailable
from tests.workflows.world import World
from workflows.contract import (
    ExpirePoliciesInput,
    PublishPriceInput,
    Start,
    start_expire_policies,
    start_publish_price,
)


def expiry() -> Start:
    """The expiry of a new batch."""
    return start_expire_policies(ExpirePoliciesInput(f"expiryBatches/{uuid.uuid4().hex}", 950))


def publication() -> Start:
    """The publication of a round that was never published before."""
    return start_publish_price("BTC_USD", PublishPriceInput(price_pb2.FEED_BTC_USD, uuid.uuid4().int >> 70))


async def test_a_batch_expires_on_its_heights_one_receipt(world: World) -> None:
    """One receipt of the height, one intent for the claimed ids; a confirmed batch is never given back."""
    world.gateway.plan(CONFIRMED)
    start = expiry()
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "CONFIRMED"
    assert [asked.expiration_burn_height for asked in world.script.asked("CreateExpiryReceipt")] == [950]
    [submitted] = world.script.asked("CreateIntent")
    assert submitted.key == f"{start.workflow_id}/submit/0"
    call = submitted.call.expire_policies
    assert (list(call.onchain_ids), call.receipt, call.max_payouts[0].base_units) == ([5, 6], RECEIPT, 2_000)
    assert not world.script.asked("ReleaseExpiryBatch")


async def test_an_expiry_waits_for_its_window_and_for_a_person(world: World) -> None:
    """An incomplete window and one that a person must decide are asked for again, without end."""
    world.gateway.plan(CONFIRMED)
    person = FailedPrecondition("EXPIRY_NEEDS_A_PERSON", "too few rounds")
    world.script.on("CreateExpiryReceipt", unavailable("WINDOW_INCOMPLETE"), person, person)
    start = expiry()
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "CONFIRMED"
    assert len(world.script.asked("CreateExpiryReceipt")) == 4


async def test_a_refused_expiry_is_tried_again_on_the_same_receipt(world: World) -> None:
    """Refused once, cancelled once, confirmed: three keys, one receipt."""
    world.gateway.plan(ABORTED, CANCELLED, CONFIRMED)
    start = expiry()
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "CONFIRMED"
    assert [asked.key for asked in world.script.asked("CreateIntent")] == [
        f"{start.workflow_id}/submit/{attempt}" for attempt in range(3)
    ]
    assert len(world.script.asked("CreateExpiryReceipt")) == 1
    assert not world.script.asked("ReleaseExpiryBatch")


async def test_a_batch_refused_five_times_is_given_back(world: World) -> None:
    """By the gateway once and by the contract four times: the policies return, they do not stay EXPIRING."""
    world.script.on("CreateIntent", InvalidArgument("INVALID_FIELD", "no"))
    world.gateway.plan(*[ABORTED] * 4)
    start = expiry()
    await world.start(start)
    result = await world.result(start.workflow_id)
    assert (result["state"], result["contract_error"]) == ("ABORTED", ABORTED.contract_error)
    assert len(world.script.asked("CreateIntent")) == 5
    [released] = world.script.asked("ReleaseExpiryBatch")
    assert (released.name, released.reason) == (start.input.batch, "settlement is paused")


async def test_a_publication_is_done_once_it_is_in_a_block(world: World) -> None:
    """MINED is enough; what is recorded names the transaction that was mined, not the replaced one after it."""
    world.gateway.plan(MINED)
    start = publication()
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "SUBMITTED"
    [submitted] = world.script.asked("CreateIntent")
    assert submitted.key == f"publish/BTC_USD/{start.input.round}/submit/0"
    assert submitted.call.publish_price.round == price_pb2.PriceRound(
        feed=price_pb2.FEED_BTC_USD, round=start.input.round, signature=SIGNATURE
    )
    [recorded] = world.script.asked("RecordPublication")
    assert recorded == oracle_pb.RecordPublicationRequest(
        feed=price_pb2.FEED_BTC_USD,
        round=start.input.round,
        outcome=oracle_pb.PUBLICATION_OUTCOME_CONFIRMED,
        txid="c0ffee",
    )


@pytest.mark.parametrize("end", [ABORTED, CANCELLED], ids=["aborted", "cancelled"])
async def test_a_refused_publication_is_recorded_and_not_repeated(world: World, end: gateway_pb.Intent) -> None:
    """The next round takes its place: the feed's slot is freed with the reason, and nothing is submitted again."""
    world.gateway.plan(end)
    start = publication()
    await world.start(start)
    await world.result(start.workflow_id)
    [recorded] = world.script.asked("RecordPublication")
    assert (recorded.outcome, recorded.reason) == (oracle_pb.PUBLICATION_OUTCOME_REFUSED, end.reason)
    assert len(world.gateway.intents) == 1


async def test_a_publication_that_the_gateway_never_accepts_frees_its_feed(world: World) -> None:
    """Otherwise no round of this feed would be published any more."""
    world.script.on("CreateIntent", InvalidArgument("INVALID_FIELD", "no"))
    start = publication()
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "REFUSED"
    [recorded] = world.script.asked("RecordPublication")
    assert (recorded.outcome, recorded.reason) == (oracle_pb.PUBLICATION_OUTCOME_REFUSED, "INVALID_FIELD")

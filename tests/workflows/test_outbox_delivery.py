"""Outbox rows on a real Temporal server: starts once, signals to workflows not there yet or no more."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import Client

from kernel.outbox import DeliveryError, OutboxRecord
from kernel.temporal import SIGNAL, START, TemporalDelivery
from tests.workflows.test_create_policy import creation
from tests.workflows.world import World, eventually
from workflows.contract import Signal, SignalName, Start

MANY = 40


def start_row(start: Start) -> OutboxRecord:
    """A row as the policy service posts it."""
    return OutboxRecord(kind=START, key=start.workflow_id, payload=start.payload())


def signal_row(workflow_id: str, attempts: int = 1) -> OutboxRecord:
    """A row as a projector posts it, at its n-th try."""
    payload = Signal(workflow_id, SignalName.CREATION_ENDED, "ACTIVE").payload()
    return OutboxRecord(kind=SIGNAL, key=workflow_id, payload=payload, attempts=attempts)


async def tries_until_dropped(delivery: TemporalDelivery, row: OutboxRecord) -> int:
    """Tries a row as the relay does; how many tries it took until it counts as delivered."""
    for tried in range(1, MANY):
        try:
            await delivery(row)
        except DeliveryError as error:
            row.last_error = str(error)
            row.attempts += 1
        else:
            return tried
    raise AssertionError("never delivered")


async def test_a_start_delivered_twice_starts_once(world: World) -> None:
    """Delivery is at least once, the workflow once: while it runs and after it has ended."""
    start = creation()
    delivery = TemporalDelivery(world.client)
    await delivery(start_row(start))
    await delivery(start_row(start))
    await eventually(lambda: bool(world.script.asked("RecordSignedQuote")))
    await delivery(signal_row(start.workflow_id))
    assert (await world.result(start.workflow_id))["state"] == "ACTIVE"
    await delivery(start_row(start))
    runs = [row async for row in world.client.list_workflows(f"WorkflowId = '{start.workflow_id}'")]
    assert len(runs) == 1
    assert len(world.script.asked("CreateReservation")) == 1
    assert (await world.attributes(start.workflow_id))["Tier"] == "BALANCED"


async def test_a_signal_that_overtakes_its_start_is_kept(world: World) -> None:
    """Not delivered while there is no workflow; delivered once it was started."""
    start = creation()
    delivery = TemporalDelivery(world.client)
    with pytest.raises(DeliveryError):
        await delivery(signal_row(start.workflow_id))
    await delivery(start_row(start))
    await delivery(signal_row(start.workflow_id, attempts=2))
    assert (await world.result(start.workflow_id))["state"] == "ACTIVE"


async def test_a_signal_to_an_ended_workflow_counts_as_delivered(world: World) -> None:
    """Nobody is left to be woken: the row is done."""
    start = creation()
    delivery = TemporalDelivery(world.client)
    await delivery(start_row(start))
    await delivery(signal_row(start.workflow_id))
    await world.result(start.workflow_id)
    await delivery(signal_row(start.workflow_id))


async def test_a_signal_to_nobody_is_dropped_in_the_end(temporal: Client) -> None:
    """After twelve tries there is no such workflow, such as for a policy that came from the chain alone."""
    assert await tries_until_dropped(TemporalDelivery(temporal), signal_row(f"create/{uuid.uuid4().hex}")) == 12


async def test_tries_without_temporal_do_not_count_against_a_signal(temporal: Client) -> None:
    """After an outage the start may still wait for its turn: the signal stays until Temporal says three times no."""
    absent = await Client.connect("127.0.0.1:1", lazy=True)
    row = signal_row(f"create/{uuid.uuid4().hex}", attempts=MANY)
    with pytest.raises(DeliveryError) as refused:
        await TemporalDelivery(absent)(row)
    row.last_error = str(refused.value)
    assert await tries_until_dropped(TemporalDelivery(temporal), row) == 3


async def test_an_unknown_kind_is_never_lost(temporal: Client) -> None:
    """A row of a newer release waits for a worker that knows it."""
    with pytest.raises(DeliveryError):
        await TemporalDelivery(temporal)(OutboxRecord(kind="later", key="k", payload={}))

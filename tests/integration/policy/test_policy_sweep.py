"""How many batches of policies that are due are on their way into a block at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2

from tests.integration.policy import events
from tests.integration.policy.harness import House, running
from tests.integration.policy.races import Subject, new_subject

TIP = gateway_pb2.EVENT_FINALITY_TIP
EXPIRING = policy_pb2.POLICY_STATE_EXPIRING
AT_ONCE = 2


@pytest.fixture
async def narrow_house(database_url: str) -> AsyncIterator[House]:
    """A policy service that has two batches of a height in flight at once."""
    async with running(database_url, at_once=AT_ONCE) as found:
        yield found


async def crowd(house: House) -> tuple[list[Subject], Subject]:
    """Policies of one expiration that are as many batches in flight, and one more that is due and may not follow."""
    flying = [await swept(await new_subject(house)) for _ in range(AT_ONCE)]
    waiting = await new_subject(house)
    await waiting.set("due_burn_height = 1")
    assert await house.sweeper.claim_batch() is None
    return flying, waiting


async def swept(one: Subject) -> Subject:
    """The same once it is due and claimed."""
    await one.set("due_burn_height = 1")
    await one.house.until(one.name, EXPIRING)
    return one


async def test_the_next_batch_follows_when_the_tip_has_decided_one(narrow_house: House) -> None:
    """A batch is in flight until the chain's tip has ended its policies, final or not; then the next is claimed."""
    flying, waiting = await crowd(narrow_house)
    await narrow_house.gateway.deliver(TIP, events.expired(flying[0].policy, flying[0].number))
    await narrow_house.until(waiting.name, EXPIRING)
    assert await flying[0].state() == "EXPIRING"


async def test_a_crowded_height_holds_up_no_other(narrow_house: House) -> None:
    """Policies of a later expiration are claimed while those of an earlier one that are due wait for their turn."""
    _, waiting = await crowd(narrow_house)
    later = await new_subject(narrow_house)
    await later.set("expiration_burn_height = expiration_burn_height + 1")
    await swept(later)
    assert await waiting.state() == "ACTIVE"


async def test_a_batch_that_hangs_keeps_its_place_for_a_time_only(narrow_house: House) -> None:
    """Of batches that are in no block minutes after their claim, whatever the reason, the next ones do not wait."""
    _, waiting = await crowd(narrow_house)
    async with narrow_house.database.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE policy.expiry_batch SET create_time = now() - interval '11 minutes'"))
    await narrow_house.until(waiting.name, EXPIRING)

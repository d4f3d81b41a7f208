"""Following an intent through lost streams and dying workers."""

from __future__ import annotations

import asyncio

from tests.workflows.stand_ins import CONFIRMED
from tests.workflows.test_settle_policy import settlement
from tests.workflows.world import World, eventually
from workflows.contract import SignalName


async def test_a_stream_that_ends_early_says_nothing_of_the_intent(world: World) -> None:
    """Cut in the middle, the intent is watched again: no new attempt, no milestone invented."""
    start = settlement()
    await world.start(start)
    await eventually(lambda: world.gateway.streams == 1)
    await world.gateway.cut_streams()
    await eventually(lambda: len(world.script.asked("WatchIntent")) == 2)
    await world.gateway.move(f"{start.workflow_id}/submit/0", CONFIRMED)
    await world.signal(start.workflow_id, SignalName.SETTLEMENT_ENDED, "SETTLED")
    assert (await world.result(start.workflow_id))["state"] == "SETTLED"
    assert len(world.gateway.intents) == 1


async def test_another_worker_goes_on_where_one_died(workerless: World) -> None:
    """A worker is gone in the middle of following; the next follows the same intent and nothing is submitted again."""
    world = workerless
    start = settlement()
    first = asyncio.ensure_future(world.worker().run())
    await world.start(start)
    await eventually(lambda: world.gateway.streams == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await eventually(lambda: world.gateway.streams == 0)
    async with world.worker():
        await eventually(lambda: world.gateway.streams == 1)
        await world.gateway.move(f"{start.workflow_id}/submit/0", CONFIRMED)
        await world.signal(start.workflow_id, SignalName.SETTLEMENT_ENDED, "SETTLED")
        assert (await world.result(start.workflow_id))["state"] == "SETTLED"
    assert len(world.script.asked("CreateIntent")) == 1
    assert {asked.name for asked in world.script.asked("WatchIntent")} == {"intents/0"}

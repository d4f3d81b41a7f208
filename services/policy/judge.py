"""Judges requests that were recorded while the tip was unknown or stale, once the tip has caught up."""

from __future__ import annotations

import dataclasses
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from services.policy import store
from services.policy.domain.activation import Activation, ActivationState
from services.policy.domain.errors import Reason
from services.policy.domain.policy import Origin, touch
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.exercise import open_activation
from services.policy.sources import Sources
from services.policy.store_activations import list_unjudged, read_activation, save_activation

_POLL_SECONDS: Final = 1.0
_BATCH: Final = 100


class Judge:
    """Part of the projector: it decides by the chain's heights. Safe in several replicas, by the policy's lock."""

    def __init__(self, database: Database, sources: Sources) -> None:
        self._database = database
        self._sources = sources

    async def run(self) -> None:
        """Judges whenever the tip changes, until cancelled."""
        while True:
            try:
                await self.judge_all()
            except BitHedgeError as error:
                get_logger().warning("requests not judged", error=str(error)[:200])
            await self._sources.tips.changed(_POLL_SECONDS)

    async def judge_all(self) -> int:
        """Judges what waits, if the tip is fresh; how many were judged."""
        tip = self._sources.tip_or_none()
        if tip is None or tip.is_stale(wall_now()):
            return 0
        async with self._database.transaction() as session:
            waiting = await list_unjudged(session, _BATCH)
        for activation in waiting:
            height = await self._sources.burn_height_at(activation.request_market_time)
            async with self._database.transaction() as session:
                await _judge(session, activation, min(height, tip.burn_height))
        return len(waiting)


async def _judge(session: AsyncSession, waiting: Activation, burn_height: int) -> None:
    policy = await store.lock(session, waiting.policy_id)
    if not policy.unjudged_activation:
        return
    activation = await read_activation(session, policy, waiting.number)
    now = wall_now()
    in_time = policy.state is PolicyState.ACTIVE and burn_height <= policy.expiration_burn_height
    state = ActivationState.OPEN if in_time else ActivationState.REFUSED
    activation = dataclasses.replace(activation, state=state, request_burn_height=burn_height)
    await save_activation(session, activation)
    if in_time:
        await open_activation(session, policy, activation, Actor.PROJECTOR, Cause.REQUEST_JUDGED, now)
        return
    change = touch(policy, Origin(now, burn_height=burn_height), unjudged_activation=False, reason=str(Reason.EXPIRED))
    await store.save(session, change)

"""Follows the gateway's events: one transaction per answer locks the cursor, applies the events, moves it on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, BitHedgeError
from kernel.lease import LeaderLease
from kernel.log import get_logger
from services.policy import store
from services.policy.domain.policy import Origin, move
from services.policy.domain.transitions import Actor, Cause
from services.policy.metrics import PROJECTED_HEIGHT, TRANSITIONS
from services.policy.projection import Event, apply_final, signal_creation
from services.policy.projection_batch import end_at_tip, end_final, may_be_batched
from services.policy.projection_tip import apply_tip
from services.policy.projection_undo import undo_final
from services.policy.sources import known_tip
from services.policy.store_projection import Stream, advance, is_stopped, lock_unpaid, read_projection

_RETRY_SECONDS: Final = 0.5
_UNPAID_BATCH: Final = 200
_FINALITY: Final = {
    Stream.FINAL: gateway_pb2.EVENT_FINALITY_FINAL,
    Stream.TIP: gateway_pb2.EVENT_FINALITY_TIP,
}


class Projector:
    """Projects one stream; of several replicas one does, and the cursor's row fences the others."""

    def __init__(
        self, database: Database, gateway: grpc.aio.Channel, stream: Stream, lease: LeaderLease, vault: str
    ) -> None:
        self._database = database
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._stream = stream
        self._lease = lease
        self._vault = vault

    async def run(self) -> None:
        """Projects while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            try:
                await self._follow()
            except (grpc.aio.AioRpcError, BitHedgeError) as error:
                get_logger().warning("events lost", stream=self._stream, error=str(error)[:200])
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        async with self._database.transaction() as session:
            cursor = (await read_projection(session, self._stream)).cursor
        request = gateway_pb2.WatchEventsRequest(cursor=cursor, finality=_FINALITY[self._stream])
        call = self._stub.WatchEvents(request, wait_for_ready=True)
        try:
            async for answer in call:
                await self.apply(cursor, answer)
                cursor = answer.cursor
        finally:
            call.cancel()

    async def apply(self, cursor: str, answer: gateway_pb2.WatchEventsResponse) -> None:
        """Applies one answer that follows `cursor`; Aborted if another replica has moved on from there."""
        async with self._database.transaction() as session:
            await self._lease.check(session)
            projection = await read_projection(session, self._stream, lock=True)
            if projection.cursor != cursor:
                raise Aborted("CURSOR_MOVED", f"{self._stream} was projected beyond {cursor!r}")
            height = max(answer.delivered_burn_height, projection.delivered_burn_height)
            for together, run in itertools.groupby(answer.events, key=may_be_batched):
                await self._apply_run(session, list(run), height, together=together)
            # While creation is stopped a withdrawn creation may still come back: only a person ends the stop.
            if self._stream is Stream.FINAL and not await is_stopped(session):
                await _end_unpaid(session, height)
            await advance(session, self._stream, answer.cursor, height, known_tip(answer.tip))
        PROJECTED_HEIGHT.labels(self._stream).set(height)

    async def _apply_run(self, session: AsyncSession, events: Sequence[Event], height: int, *, together: bool) -> None:
        end = end_at_tip if self._stream is Stream.TIP else end_final
        if together and len(events) > 1:
            events = await end(session, events)
        for event in events:
            if self._stream is Stream.TIP:
                await apply_tip(session, event)
            elif event.withdrawn:
                await undo_final(session, event)
            else:
                await apply_final(session, event, height, self._vault)


async def _end_unpaid(session: AsyncSession, delivered_burn_height: int) -> None:
    """The only end of a signed quote besides its payment: its last height is final without its creation."""
    while policies := await lock_unpaid(session, delivered_burn_height, _UNPAID_BATCH):
        for policy in policies:
            origin = Origin(wall_now(), burn_height=delivered_burn_height)
            change = move(policy, Actor.PROJECTOR, Cause.QUOTE_NOT_PAID, origin, reason=str(Cause.QUOTE_NOT_PAID))
            ended = await store.save(session, change)
            TRANSITIONS.labels(ended.state).inc()
            await signal_creation(session, ended)

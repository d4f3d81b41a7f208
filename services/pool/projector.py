"""Follows the chain's final events: a transaction for each batch of them, under a lock on the cursor."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from services.pool import metrics, projection_pages, store, store_coverage
from services.pool.backlog import Batch, Given, batches

_RETRY_SECONDS: Final = 0.5


class Projector:
    """Applies the FINAL stream. Any number may run: a batch is applied by the one whose cursor is current."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel) -> None:
        self._database = database
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)

    async def run(self) -> None:
        """Follows the gateway until cancelled; a lost stream starts again from the stored cursor."""
        while True:
            try:
                await self._follow()
            except (grpc.aio.AioRpcError, BitHedgeError) as error:
                get_logger().warning("event stream lost", error=str(error)[:200])
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        async with self._database.transaction() as session:
            cursor = (await store.read_cursor(session)).cursor
        request = gateway_pb2.WatchEventsRequest(cursor=cursor, finality=gateway_pb2.EVENT_FINALITY_FINAL)
        call = self._stub.WatchEvents(request, wait_for_ready=True)
        try:
            await self.take_in(cursor, aiter(call))
        finally:
            call.cancel()

    async def take_in(self, cursor: str, answers: AsyncIterator[gateway_pb2.WatchEventsResponse]) -> None:
        """Takes answers that follow `cursor` into the books, until they end or the books stand elsewhere."""
        async with aclosing(batches(answers)) as following:
            async for batch in following:
                if not await self._apply(cursor, batch):
                    return
                cursor = batch.cursor

    async def _apply(self, cursor: str, batch: Batch) -> bool:
        """One transaction; False, and nothing done, if the books do not stand at `cursor` any more."""
        now, height = batch.market_time, batch.delivered_burn_height
        async with self._database.transaction() as session:
            if await store.lock_cursor(session) != cursor:
                return False
            halt_reason = ""
            if batch.events or await store.anything_due(session, height):
                await store.lock_all_tiers(session)
                halt_reason = await _take_in_all(session, batch.events, now)
                await _end_what_is_due(session, height, now)
            projected = await store.move_cursor(session, batch.cursor, height, now, halt_reason)
            if height:
                await _measure(session)
        metrics.PROJECTED.set(projected)
        metrics.APPLIED.inc(len(batch.events))
        return True


async def _measure(session: AsyncSession) -> None:
    for (account, token), balance in (await store.balances(session)).items():
        metrics.BALANCE.labels(account, token.name).set(balance)


async def _end_what_is_due(session: AsyncSession, height: int, now: dt.datetime) -> None:
    # What events have just done, a voucher's delay for one, counts. At zero more follow at once: nothing is due yet.
    if height and await store.anything_due(session, height):
        await projection_pages.lapse_vouchers(session, height, now)
        await store_coverage.release_unpaid(session, height)


async def _take_in_all(session: AsyncSession, events: Iterable[Given], now: dt.datetime) -> str:
    """Applies events in their order; the reason to halt, if there is one."""
    reason = ""
    for withdrawn, run in itertools.groupby(events, key=lambda given: given.message.withdrawn):
        if withdrawn:
            reason = "REORGANISATION_BEYOND_FINALITY"
            for given in run:
                await projection_pages.take_back(session, given)
        else:
            await projection_pages.take_in(session, list(run), now)
    return reason

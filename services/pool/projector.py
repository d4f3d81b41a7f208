"""Follows the chain's final events: one transaction per answer of the gateway, under a lock on the cursor."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from services.pool import (
    convert,
    metrics,
    projection,
    projection_batch,
    reversal,
    store,
    store_coverage,
    store_positions,
)
from services.pool.domain.chain_event import ChainEvent
from services.pool.domain.ledger import Cause

_RETRY_SECONDS: Final = 0.5
_CHANGE_OTHER_BOOKS: Final = frozenset(
    {"deposited", "policy_created", "withdrawal", "withdrawal_delayed", "voucher_vetoed", "fees_withdrawn"}
)


class Projector:
    """Applies the FINAL stream. Any number may run: an answer is applied by the one whose cursor is current."""

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
            async for answer in call:
                if not await self.apply(cursor, answer):
                    return
                cursor = answer.cursor
        finally:
            call.cancel()

    async def apply(self, cursor: str, answer: gateway_pb2.WatchEventsResponse) -> bool:
        """Takes one answer into the books; False, and nothing done, if they do not stand at `cursor` any more."""
        now = answer.tip.market_time.ToDatetime(dt.UTC) if answer.HasField("tip") else wall_now()
        height = answer.delivered_burn_height
        async with self._database.transaction() as session:
            row = await store.read_cursor(session, lock=True)
            if row.cursor != cursor:
                return False
            if answer.events or await _anything_due(session, height):
                await store.lock_tiers(session)
                row.halt_reason = await _take_in_all(session, answer.events, now) or row.halt_reason
                await projection.lapse_vouchers(session, height, now)
                await store_coverage.release_unpaid(session, height)
            await store.move_cursor(session, row, answer.cursor, height, now)
            if answer.events:
                await _measure(session)
        metrics.PROJECTED.set(row.projected_burn_height)
        metrics.APPLIED.inc(len(answer.events))
        return True


async def _measure(session: AsyncSession) -> None:
    for (account, token), balance in (await store.balances(session)).items():
        metrics.BALANCE.labels(account, token.name).set(balance)


async def _anything_due(session: AsyncSession, height: int) -> bool:
    return await store_coverage.any_unpaid_due(session, height) or await store_positions.any_voucher_due(
        session, height
    )


async def _take_in_all(session: AsyncSession, messages: Iterable[chain_event_pb2.ChainEvent], now: dt.datetime) -> str:
    """Applies events in their order; the reason to halt, if there is one."""
    reason = ""
    for many, run in itertools.groupby(messages, key=_may_be_batched):
        batch = list(run)
        if many and len(batch) > 1 and await _take_in_ends(session, batch):
            continue
        for message in batch:
            reason = await _take_in(session, message, now) or reason
    return reason


def _may_be_batched(message: chain_event_pb2.ChainEvent) -> bool:
    """Whether an event ends a policy, or is one of those that come with it and change no book."""
    return not message.withdrawn and message.WhichOneof("payload") not in _CHANGE_OTHER_BOOKS


async def _take_in_ends(session: AsyncSession, messages: Sequence[chain_event_pb2.ChainEvent]) -> bool:
    """Applies ends of policies together; False, and nothing done, where each must be judged by itself."""
    try:
        events = [convert.chain_event(message) for message in messages]
        async with session.begin_nested():
            await projection_batch.apply_ends(session, events)
    except (projection_batch.NotPlain, BitHedgeError, ValueError, IntegrityError):
        return False
    return True


async def _take_in(session: AsyncSession, message: chain_event_pb2.ChainEvent, now: dt.datetime) -> str:
    """Applies one event, or records why it cannot be; the reason to halt, if there is one."""
    cause = convert.event_cause(message)
    event: ChainEvent | None = None
    try:
        event = convert.chain_event(message)
        async with session.begin_nested():
            if event.withdrawn:
                await reversal.take_back(session, event)
            else:
                await projection.apply(session, event, now)
                await projection.record_gas(session, event)
    except (projection.UnexplainedEvent, BitHedgeError, ValueError, IntegrityError) as error:
        await _record(session, message, cause, event, error)
    return "REORGANISATION_BEYOND_FINALITY" if message.withdrawn else ""


async def _record(
    session: AsyncSession,
    message: chain_event_pb2.ChainEvent,
    cause: Cause,
    event: ChainEvent | None,
    error: Exception,
) -> None:
    reason = str(error).splitlines()[0][:300]
    metrics.UNEXPLAINED.inc()
    get_logger().error("event not explained", cause=cause.key, reason=reason)
    if event is not None and not event.withdrawn:
        await projection.follow_unexplained_cash(session, event, reason)
        await projection.record_gas(session, event)
    await projection.record_unknown(session, cause, reason, message.SerializeToString())

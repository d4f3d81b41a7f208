"""Puts right what the chain proves: events that the ledger missed, and rows that wait for nothing any more.

Money moves by entries alone, each under its event's cause, so that healing twice is healing once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from kernel.rpc.channels import remote_errors
from services.pool import convert, projection_pages, reversal, store_coverage, store_journal, store_reports
from services.pool.domain.collateral import ReservationState
from services.pool.domain.ledger import EntryKind
from services.pool.domain.positions import Positions
from services.pool.projection import UnexplainedEvent

_EXPLAINED: Final = "reconciliation found what the payment was for"
# One transaction takes in so many at most; the next reconciliation goes on.
_MOST: Final = 1_000


async def missed_events(
    database: Database, gateway: gateway_grpc.ChainGatewayServiceAsyncStub, burn_height: int
) -> list[chain_event_pb2.ChainEvent]:
    """Events that were final up to `burn_height` and that no entry explains, in the chain's order.

    The whole stream is read again, answer by answer; what a reorganisation took back is none. Unavailable while the
    gateway does not answer.
    """
    missed: dict[str, chain_event_pb2.ChainEvent] = {}
    call = gateway.WatchEvents(gateway_pb2.WatchEventsRequest(finality=gateway_pb2.EVENT_FINALITY_FINAL))
    try:
        with remote_errors():
            async for answer in call:
                await _sift(database, answer.events, missed)
                if answer.delivered_burn_height >= burn_height or len(missed) >= _MOST:
                    break
    finally:
        call.cancel()
    return [event for event in missed.values() if event.burn_height <= burn_height][:_MOST]


async def _sift(
    database: Database, events: Sequence[chain_event_pb2.ChainEvent], missed: dict[str, chain_event_pb2.ChainEvent]
) -> None:
    if not events:
        return
    keys = {convert.event_cause(event).key for event in events}
    async with database.transaction() as session:
        booked = await store_reports.booked_events(session, keys)
    for event in events:
        key = convert.event_cause(event).key
        missed.pop(key, None)
        if not event.withdrawn and key not in booked and convert.leaves_entry(event):
            missed[key] = event


async def take_in(session: AsyncSession, message: chain_event_pb2.ChainEvent, now: dt.datetime) -> None:
    """Applies an event that was missed; nothing is kept of one that the books still cannot explain.

    A payment that waited in suspense leaves it first, by a reversing entry.
    """
    try:
        event = convert.chain_event(message)
        async with session.begin_nested():
            waiting = await store_journal.standing_entry(session, event.cause.key)
            if waiting is not None and waiting.row.kind == EntryKind.UNATTRIBUTED:
                await reversal.reverse(session, event.cause, waiting, _EXPLAINED)
            await projection_pages.explain(session, event, now)
    except (UnexplainedEvent, BitHedgeError, ValueError, IntegrityError) as error:
        reason = str(error).splitlines()[0][:300]
        get_logger().warning("event still not explained", cause=convert.event_cause(message).key, reason=reason)


async def end_what_is_over(
    session: AsyncSession, positions: Positions, on_chain: Collection[str], burn_height: int, now: dt.datetime
) -> None:
    """Commits, gives back, releases and lapses what the chain decided at `burn_height` or before.

    `on_chain` are the policies that the contracts have: a reservation is taken from none of them.
    """
    for policy_id in positions.created_reservations:
        await store_coverage.end_reservation(session, policy_id, ReservationState.COMMITTED, "")
    for policy_id in positions.empty_reservations:
        if policy_id not in on_chain:
            # The quote is still signed: until its last height is final the capacity stays set aside.
            await store_coverage.end_reservation(session, policy_id, ReservationState.HELD, "CREATION_WITHDRAWN")
    await session.flush()
    await store_coverage.release_unpaid(session, burn_height)
    await projection_pages.lapse_vouchers(session, burn_height, now)

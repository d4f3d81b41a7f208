"""Events to consumers: pages of rows after a cursor, at the tip or when final, with how far they reach."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database
from kernel.errors import FailedPrecondition, InvalidArgument
from services.chain_gateway import convert, store_events
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.convert_event import chain_event
from services.chain_gateway.domain.confirmation import MAX_CONFIRMATIONS
from services.chain_gateway.domain.cursor import Cursor, encode_cursor, parse_cursor
from services.chain_gateway.state import Snapshot, StateFollower
from services.chain_gateway.tables import Event

_PAGE: Final = 200
_WAIT_SECONDS: Final = 5.0
# Some seconds of the densest blocks: what a stream of final events is behind one at the tip where finality is near.
_KEPT: Final = 4_000


def _start(request: pb.WatchEventsRequest) -> Cursor:
    """Where a stream begins; InvalidArgument for what asks for no stream of ours."""
    if request.finality not in (pb.EVENT_FINALITY_TIP, pb.EVENT_FINALITY_FINAL):
        raise InvalidArgument.of("finality", "is required")
    final = request.finality == pb.EVENT_FINALITY_FINAL
    most = MAX_CONFIRMATIONS if final else 0
    if not 0 <= request.burn_confirmations <= most:
        raise InvalidArgument.of("burn_confirmations", f"expected 0 to {MAX_CONFIRMATIONS}, and 0 at the tip")
    return parse_cursor(request.cursor, final, request.burn_confirmations)


class _Converted:
    """The newest events as messages, for all streams: what has a sequence never changes."""

    def __init__(self) -> None:
        self._events: OrderedDict[int, chain_event_pb2.ChainEvent] = OrderedDict()

    def of(self, row: Event) -> chain_event_pb2.ChainEvent:
        """The event of a row, converted once."""
        event = self._events.get(row.sequence)
        if event is None:
            event = self._events[row.sequence] = chain_event(row)
            if len(self._events) > _KEPT:
                self._events.popitem(last=False)
        return event


class EventStream:
    """Serves WatchEvents. Nothing is kept per stream but its cursor, so a slow reader costs nothing."""

    def __init__(self, database: Database, state: StateFollower, contracts: Contracts) -> None:
        self._database = database
        self._state = state
        self._contracts = contracts
        self._converted = _Converted()

    async def watch(self, request: pb.WatchEventsRequest) -> AsyncIterator[pb.WatchEventsResponse]:
        """Pages without end: first what there is, then what comes. An empty page tells progress alone."""
        cursor = _start(request)
        snapshot = await self._state.first()
        if cursor.sequence > snapshot.row.latest_sequence:
            # Another replica may have told what this process has not heard of yet.
            await self._state.refresh()
            snapshot = self._state.snapshot
        told: tuple[str, int] | None = None
        while True:
            if cursor.sequence > snapshot.row.latest_sequence:
                raise FailedPrecondition("CURSOR_AHEAD", "the cursor is of another history than this gateway's")
            rows = await self._page(cursor, snapshot)
            more = len(rows) == _PAGE
            if rows:
                cursor = replace(cursor, sequence=rows[-1].sequence)
            progress = ("", snapshot.row.burn_height) if cursor.final else (snapshot.row.index_hash, 0)
            if rows or progress != told:
                yield self._response(cursor, snapshot, rows, more)
                told = None if more else progress
            if not more:
                await self._state.changed(snapshot, _WAIT_SECONDS)
                snapshot = self._state.snapshot

    async def _page(self, cursor: Cursor, snapshot: Snapshot) -> Sequence[Event]:
        async with self._database.reading() as session:
            if cursor.final:
                confirmations = cursor.burn_confirmations or snapshot.confirmations
                height = snapshot.row.burn_height
                rows = await store_events.final_events(session, cursor.sequence, height, confirmations, _PAGE)
            else:
                rows = await store_events.events_at_tip(session, cursor.sequence, _PAGE)
        # What was ingested after the snapshot waits for the next one: a response tells one state of the chain.
        return [row for row in rows if row.sequence <= snapshot.row.latest_sequence]

    def _response(
        self, cursor: Cursor, snapshot: Snapshot, rows: Sequence[Event], more: bool
    ) -> pb.WatchEventsResponse:
        reached = snapshot.row.burn_height
        if cursor.final:
            reached -= cursor.burn_confirmations or snapshot.confirmations
        if more:
            # What comes next may lie lower than these: a branch that replaced a longer one.
            reached = 0
        return pb.WatchEventsResponse(
            events=[self._converted.of(row) for row in rows],
            cursor=encode_cursor(cursor),
            delivered_burn_height=max(0, reached),
            tip=convert.tip(snapshot, self._contracts),
        )

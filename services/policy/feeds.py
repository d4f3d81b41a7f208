"""What a holder follows: all of their policies, and what they are told of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.database import Database
from kernel.feed_cursor import cursor_after, follow, read_cursor, start_of
from kernel.paging import page_size
from kernel.rpc.caller import Caller
from services.policy import convert_feed
from services.policy.reading import Reading
from services.policy.store_feed import LINES, FeedLine, list_principal_lines
from services.policy.watch import Watchers
from services.policy.watch_holder import HolderWatch, parse_token

_PAGE: Final = 50
_MAX_PAGE: Final = 200


class Feeds:
    """Answers to WatchPolicies, ListNotifications and WatchNotifications."""

    def __init__(self, database: Database, reading: Reading, watchers: Watchers) -> None:
        self._database = database
        self._reading = reading
        self._watchers = watchers

    async def watch(self, request: pb.WatchPoliciesRequest, caller: Caller) -> AsyncIterator[pb.WatchPoliciesResponse]:
        """Snapshot, then changes; from a token of ours only what is newer."""
        principal = caller.principal_for(request.holder_principal)
        token = parse_token(request.resume_token)
        async for found in HolderWatch(self._database, self._watchers, principal).updates(token):
            policy = None if found.update is None else self._reading.shared_message(found.update, caller)
            yield pb.WatchPoliciesResponse(
                policy=policy, resume_token=str(found.token), snapshot_complete=found.update is None
            )

    async def list_notifications(
        self, request: pb.ListNotificationsRequest, caller: Caller
    ) -> pb.ListNotificationsResponse:
        """What is after the cursor, oldest first."""
        principal = caller.principal_for(request.holder_principal)
        size = page_size(request.page_size, _PAGE, _MAX_PAGE)
        cursor = read_cursor(request.cursor)
        async with self._database.reading() as session:
            # Read before the lines: whatever comes later has a higher number.
            last = await LINES.last_number(session)
            after = start_of(cursor, last)
            lines = await list_principal_lines(session, principal, after, size, notices=True)
        return pb.ListNotificationsResponse(
            notifications=[convert_feed.notification(line) for line in lines],
            next_cursor=cursor_after(lines, size, after, last),
        )

    async def watch_notifications(
        self, request: pb.WatchNotificationsRequest, caller: Caller
    ) -> AsyncIterator[pb.WatchNotificationsResponse]:
        """What is after the cursor, then each notification as it comes."""
        principal = caller.principal_for(request.holder_principal)
        cursor = read_cursor(request.cursor)
        with self._watchers.watching_holder(principal) as watcher:
            await self._watchers.position()
            async with self._database.reading() as session:
                after = start_of(cursor, await LINES.last_number(session))
            async for line in follow(lambda after: self._lines(principal, after), after, watcher.take):
                yield pb.WatchNotificationsResponse(
                    notification=convert_feed.notification(line), next_cursor=str(line.number)
                )
                watcher.show_life()

    async def _lines(self, principal: str, after: int) -> list[FeedLine]:
        async with self._database.reading() as session:
            return await list_principal_lines(session, principal, after, _MAX_PAGE, notices=True)

"""The service that tells providers what has become of their deposits and withdrawals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from bithedge.pool.v1 import notification_service_pb2 as pb
from bithedge.pool.v1 import notification_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.feed_cursor import cursor_after, follow, read_cursor, start_of
from kernel.paging import page_size
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.pool import convert_feed
from services.pool.store_feed import LINES, FeedLine, list_principal_lines
from services.pool.watch import Watchers

_PAGE: Final = 50
_LARGEST_PAGE: Final = 200


class NotificationServicer(pb_grpc.NotificationServiceServicer):
    """All of `NotificationService`."""

    def __init__(self, database: Database, watchers: Watchers) -> None:
        self._database = database
        self._watchers = watchers

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """What is after the cursor, oldest first."""
        principal = current_caller().principal_for(request.provider_principal)
        size = page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        cursor = read_cursor(request.cursor)
        async with self._database.reading() as session:
            # Read before the lines: whatever comes later has a higher number.
            last = await LINES.last_number(session)
            after = start_of(cursor, last)
            lines = await list_principal_lines(session, principal, after, size)
        return pb.ListNotificationsResponse(
            notifications=map(convert_feed.notification, lines), next_cursor=cursor_after(lines, size, after, last)
        )

    async def WatchNotifications(
        self, request: pb.WatchNotificationsRequest, context: Context
    ) -> AsyncIterator[pb.WatchNotificationsResponse]:
        """What is after the cursor, then each notification as it comes."""
        principal = current_caller().principal_for(request.provider_principal)
        cursor = read_cursor(request.cursor)
        with self._watchers.watching(principal) as watcher:
            async with self._database.reading() as session:
                after = start_of(cursor, await LINES.last_number(session))
            async for line in follow(lambda after: self._lines(principal, after), after, watcher.wait):
                yield pb.WatchNotificationsResponse(
                    notification=convert_feed.notification(line), next_cursor=str(line.number)
                )
                watcher.show_life()

    async def _lines(self, principal: str, after: int) -> Sequence[FeedLine]:
        async with self._database.reading() as session:
            return await list_principal_lines(session, principal, after, _LARGEST_PAGE)

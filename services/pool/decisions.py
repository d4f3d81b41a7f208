"""Follows the oracle's receipts: a loss counts from when it is decided, not from when the chain has paid it.

They are read after the prices at which somebody joins or leaves: what was decided before these were observed is known
then, however long the chain takes.
"""

from __future__ import annotations

from typing import Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api

from kernel.database import Database
from kernel.log import get_logger
from kernel.rpc.channels import remote_errors
from services.pool import convert, store_decisions

_DEADLINE_SECONDS: Final = 5.0
_PAGE: Final = 1_000


class Decisions:
    """Any number may read at once: a page is kept by the one whose cursor is current."""

    def __init__(self, database: Database, oracle: grpc.aio.Channel) -> None:
        self._database = database
        self._stub = grpc_api.OracleServiceStub(oracle)

    async def learn(self) -> None:
        """Keeps every receipt that was made until now; Unavailable while the oracle does not answer."""
        complete = False
        while not complete:
            async with self._database.reading() as session:
                cursor = await store_decisions.read_cursor(session)
            with remote_errors():
                request = pb.ListReceiptsRequest(page_size=_PAGE, cursor=cursor)
                answer = await self._stub.ListReceipts(request, timeout=_DEADLINE_SECONDS)
            complete = await self._keep(cursor, answer)

    async def _keep(self, cursor: str, answer: pb.ListReceiptsResponse) -> bool:
        """Whether there are no more receipts for now."""
        if not answer.receipts:
            return True
        async with self._database.transaction() as session:
            if not await store_decisions.move_cursor(session, cursor, answer.next_cursor):
                return False
            await store_decisions.add_decisions(session, [convert.decision(one) for one in answer.receipts])
        get_logger().info("payouts decided", receipts=len(answer.receipts))
        return len(answer.receipts) < _PAGE

"""Methods that show the journal and correct it."""

from __future__ import annotations

from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc

from kernel.errors import FailedPrecondition, NotFound
from kernel.idempotency import claim, complete
from kernel.paging import page_size
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.pool import (
    convert,
    convert_journal,
    convert_statement,
    store,
    store_journal,
    store_statement,
    tables,
)
from services.pool.domain.statement import period_statement
from services.pool.parts import Parts

_PAGE_SIZE: Final = 50
_LARGEST_PAGE: Final = 200
_MOST_FAULTS: Final = 100


class JournalMethods(pool_service_pb2_grpc.PoolServiceServicer):
    """The journal, entry by entry."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def GetJournalEntry(self, request: pb.GetJournalEntryRequest, context: Context) -> pb.GetJournalEntryResponse:
        """An entry's whole story."""
        number = convert_journal.entry_id(request.name)
        async with self._parts.database.reading() as session:
            entry = await store_journal.get_entry(session, number)
        if entry is None:
            raise NotFound("ENTRY_UNKNOWN", "there is no such entry")
        return pb.GetJournalEntryResponse(entry=convert_journal.entry_message(entry))

    async def ListJournalEntries(
        self, request: pb.ListJournalEntriesRequest, context: Context
    ) -> pb.ListJournalEntriesResponse:
        """Entries, newest first, by pages."""
        size = page_size(request.page_size, _PAGE_SIZE, _LARGEST_PAGE)
        async with self._parts.database.reading() as session:
            found = await store_journal.list_entries(session, convert_journal.entry_filter(request), size + 1)
        response = pb.ListJournalEntriesResponse(entries=map(convert_journal.entry_message, found[:size]))
        if len(found) > size:
            response.next_page_token = convert_journal.page_token("entry", found[size - 1].id)
        return response

    async def CreateCorrection(
        self, request: pb.CreateCorrectionRequest, context: Context
    ) -> pb.CreateCorrectionResponse:
        """A correction under the caller's name, once per request id."""
        token = convert_journal.check_correction(request)
        author = current_caller().principal
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, author, request, request.request_id, pb.CreateCorrectionResponse
            )
            if stored is not None:
                return stored
            accounts = (request.from_account, request.to_account)
            entry = await self._parts.corrections.post(
                session, author, request.request_id, token, accounts, request.amount.base_units, request.reason
            )
            response = pb.CreateCorrectionResponse(entry=convert_journal.entry_message(entry))
            await complete(session, tables.Request, author, request, request.request_id, response)
        return response

    async def GetPeriodStatement(
        self, request: pb.GetPeriodStatementRequest, context: Context
    ) -> pb.GetPeriodStatementResponse:
        """The caller's statement; of any provider for operators."""
        provider = current_caller().principal_for(request.provider_principal)
        tier, token = convert.tier(request.tier), convert.token(request.token)
        async with self._parts.database.snapshot() as session:
            projected = (await store.read_cursor(session)).projected_burn_height
            start, end = convert_statement.period(request, projected)
            if end > projected:
                raise FailedPrecondition("BOOKS_BEHIND", "the books have not reached this height", projected=projected)
            opening = await store_statement.holding_at(session, provider, tier, token, start)
            steps = await store_statement.steps_between(session, provider, tier, token, start, end)
        return convert_statement.statement_message(request, start, end, period_statement(opening, steps))

    async def ListLedgerFaults(
        self, request: pb.ListLedgerFaultsRequest, context: Context
    ) -> pb.ListLedgerFaultsResponse:
        """Sums the journal up again."""
        async with self._parts.database.reading() as session:
            found = await store_journal.faults(session, _MOST_FAULTS)
        return pb.ListLedgerFaultsResponse(
            faults=[pb.LedgerFault(kind=kind, subject=subject) for kind, subject in found]
        )

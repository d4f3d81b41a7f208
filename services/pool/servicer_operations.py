"""Methods of workflows and operators: reservations and reconciliation."""

from __future__ import annotations

from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc

from kernel import outbox
from kernel.errors import NotFound
from kernel.idempotency import claim, complete
from kernel.ids import new_id, parse_resource_name, resource_name
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from kernel.temporal import START
from services.pool import convert, convert_reports, store, store_reports, tables
from services.pool.parts import Parts
from services.pool.staging import add_page
from workflows.contract import ReconcileInput, start_reconcile

_LATEST: Final = "latest"


class OperationMethods(pool_service_pb2_grpc.PoolServiceServicer):
    """Reservations and reconciliation."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def CreateReservation(
        self, request: pb.CreateReservationRequest, context: Context
    ) -> pb.CreateReservationResponse:
        """Reserves the collateral of a quote, once per policy."""
        terms = convert.reservation_terms(request)
        row = await self._parts.capacity.reserve(terms, convert.terms_digest(request))
        return pb.CreateReservationResponse(reservation=convert.reservation_message(row))

    async def CancelReservation(
        self, request: pb.CancelReservationRequest, context: Context
    ) -> pb.CancelReservationResponse:
        """Releases a reservation on the caller's word that its quote was never signed."""
        row = await self._parts.capacity.cancel(parse_resource_name("policies", request.policy, "policy"))
        return pb.CancelReservationResponse(reservation=convert.reservation_message(row))

    async def ResumeReservations(
        self, request: pb.ResumeReservationsRequest, context: Context
    ) -> pb.ResumeReservationsResponse:
        """An operator has looked at a deep reorganisation."""
        principal = current_caller().principal
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, principal, request, request.request_id, pb.ResumeReservationsResponse
            )
            if stored is not None:
                return stored
            response = pb.ResumeReservationsResponse(stop_reason=await store.clear_halt(session))
            await complete(session, tables.Request, principal, request, request.request_id, response)
        return response

    async def AddReconciliationPage(
        self, request: pb.AddReconciliationPageRequest, context: Context
    ) -> pb.AddReconciliationPageResponse:
        """Stages one page of one book."""
        report_id = convert.reconciliation_id(request.name)
        follows = await add_page(self._parts.database, report_id, convert_reports.page(request))
        return pb.AddReconciliationPageResponse(next_after_onchain_id=follows)

    async def CompareReconciliation(
        self, request: pb.CompareReconciliationRequest, context: Context
    ) -> pb.CompareReconciliationResponse:
        """Compares what is staged."""
        report_id = convert.reconciliation_id(request.name)
        ids = await self._parts.reconciliations.compare(report_id, convert_reports.snapshot(request))
        return pb.CompareReconciliationResponse(policies=[resource_name("policies", one) for one in ids])

    async def CreateReconciliation(
        self, request: pb.CreateReconciliationRequest, context: Context
    ) -> pb.CreateReconciliationResponse:
        """Compares, heals and stores; once per name."""
        report_id = convert.reconciliation_id(request.name)
        snapshot, reread = convert_reports.snapshot(request), convert_reports.reread(request)
        books = convert_reports.whole_books(request)
        for page in books:
            await add_page(self._parts.database, report_id, page)
        row = await self._parts.reconciliations.reconcile(report_id, snapshot, reread)
        return pb.CreateReconciliationResponse(reconciliation=convert_reports.reconciliation_message(row))

    async def RunReconciliation(
        self, request: pb.RunReconciliationRequest, context: Context
    ) -> pb.RunReconciliationResponse:
        """Starts a reconciliation; its name is answered at once."""
        principal = current_caller().principal
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, principal, request, request.request_id, pb.RunReconciliationResponse
            )
            if stored is not None:
                return stored
            response = pb.RunReconciliationResponse(name=resource_name("reconciliations", new_id()))
            start = start_reconcile(ReconcileInput(response.name))
            await outbox.post(session, tables.Outbox, START, start.workflow_id, start.payload())
            await complete(session, tables.Request, principal, request, request.request_id, response)
        return response

    async def GetReconciliation(
        self, request: pb.GetReconciliationRequest, context: Context
    ) -> pb.GetReconciliationResponse:
        """A report by name, or the latest."""
        report_id = convert.reconciliation_id(request.name)
        async with self._parts.database.transaction() as session:
            row = await (
                store_reports.latest_report(session)
                if report_id == _LATEST
                else store_reports.get_report(session, report_id)
            )
        if row is None:
            raise NotFound("RECONCILIATION_UNKNOWN", "there is no such report")
        return pb.GetReconciliationResponse(reconciliation=convert_reports.reconciliation_message(row))

"""Methods of operators: what the breaker is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.idempotency import claim, complete
from kernel.log import get_logger
from kernel.paging import page_size
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from kernel.rpc.tip import TipFollower
from services.oracle import convert_override as convert
from services.oracle import store_breaker as store
from services.oracle.domain.override import Act, OverrideRules, PriceOverride, approve, cancel, check_proposal
from services.oracle.metrics import OVERRIDES
from services.oracle.tables_breaker import Request

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1_000
ResponseT = TypeVar(
    "ResponseT", pb.CreatePriceOverrideResponse, pb.ApprovePriceOverrideResponse, pb.CancelPriceOverrideResponse
)
_Write = pb.CreatePriceOverrideRequest | pb.ApprovePriceOverrideRequest | pb.CancelPriceOverrideRequest


class OverrideMethods(grpc_api.OracleServiceServicer):
    """Overrides of the breaker by two operators."""

    database: Database
    tip: TipFollower
    overrides: OverrideRules

    async def CreatePriceOverride(
        self, request: pb.CreatePriceOverrideRequest, context: Context
    ) -> pb.CreatePriceOverrideResponse:
        """A proposal, checked against the bounds of what two operators may say."""
        act = self._act(request.reason)
        proposal = convert.proposed_override(request, act)

        async def propose(session: AsyncSession) -> PriceOverride:
            check_proposal(proposal, self.overrides)
            await store.insert_override(session, proposal)
            return proposal

        return await self._once(request, act, propose, "proposed", pb.CreatePriceOverrideResponse)

    async def ApprovePriceOverride(
        self, request: pb.ApprovePriceOverrideRequest, context: Context
    ) -> pb.ApprovePriceOverrideResponse:
        """The second operator's word."""
        act, override_id = self._act(""), convert.override_id(request.name)

        async def change(session: AsyncSession) -> PriceOverride:
            approved = approve(await store.locked_override(session, override_id), act)
            await store.save_override(session, approved)
            return approved

        return await self._once(request, act, change, "approved", pb.ApprovePriceOverrideResponse)

    async def CancelPriceOverride(
        self, request: pb.CancelPriceOverrideRequest, context: Context
    ) -> pb.CancelPriceOverrideResponse:
        """One operator is enough to take it back."""
        act, override_id = self._act(request.reason), convert.override_id(request.name)

        async def change(session: AsyncSession) -> PriceOverride:
            cancelled = cancel(await store.locked_override(session, override_id), act)
            await store.save_override(session, cancelled)
            return cancelled

        return await self._once(request, act, change, "cancelled", pb.CancelPriceOverrideResponse)

    async def GetPriceOverride(
        self, request: pb.GetPriceOverrideRequest, context: Context
    ) -> pb.GetPriceOverrideResponse:
        """One of them, its state as of now."""
        override_id = convert.override_id(request.name)
        async with self.database.reading() as session:
            found = await store.override(session, override_id)
        return pb.GetPriceOverrideResponse(price_override=convert.override_message(found, self.tip.now()))

    async def ListPriceOverrides(
        self, request: pb.ListPriceOverridesRequest, context: Context
    ) -> pb.ListPriceOverridesResponse:
        """All of them, newest first."""
        feed, size = convert.listed_feed(request.feed), page_size(request.page_size, _PAGE, _LARGEST_PAGE)
        before = convert.page_start(request.page_token)
        async with self.database.reading() as session:
            found = await store.overrides_before(session, feed, before, size + 1)
        return convert.list_response(found, size, self.tip.now())

    def _act(self, reason: str) -> Act:
        return Act(current_caller().principal, reason, wall_now(), self.tip.now())

    async def _once(
        self,
        request: _Write,
        act: Act,
        work: Callable[[AsyncSession], Awaitable[PriceOverride]],
        done: str,
        response_type: type[ResponseT],
    ) -> ResponseT:
        async with self.database.transaction() as session:
            stored = await claim(session, Request, act.principal, request, request.request_id, response_type)
            if stored is not None:
                return stored
            changed = await work(session)
            response = response_type(price_override=convert.override_message(changed, act.market_time))
            await complete(session, Request, act.principal, request, request.request_id, response)
        OVERRIDES.labels(changed.feed.name, done).inc()
        get_logger().warning("price override", name=changed.id, act=done, principal=act.principal, reason=act.reason)
        return response

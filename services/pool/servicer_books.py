"""Methods that read the books: tiers, health, statement, positions."""

from __future__ import annotations

import contextlib
import itertools
from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc
from bithedge.type.v1 import money_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import FailedPrecondition, InvalidArgument, Unavailable
from kernel.paging import page_size
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from kernel.units import Tier, Token
from services.pool import convert, convert_journal, convert_risk, store, store_closings, store_coverage, store_positions
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks, TierParameters
from services.pool.domain.shares import Prices
from services.pool.parts import Parts

_PAGE_SIZE: Final = 50
_LARGEST_PAGE: Final = 200


class BookMethods(pool_service_pb2_grpc.PoolServiceServicer):
    """What the books say."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def GetTierAvailability(
        self, request: pb.GetTierAvailabilityRequest, context: Context
    ) -> pb.GetTierAvailabilityResponse:
        """One tier in one token. The share price is 0 while there is no good price to make it from."""
        tier, token = convert.tier(request.tier), convert.token(request.token)
        prices = await self._parts.valuation.prices(token)
        parameters = await self._parts.parameters.tier(tier)
        async with self._parts.database.transaction() as session:
            books = await store.tier_books(session, tier, token)
            capital = await self._capital(session, books, parameters, prices)
        return pb.GetTierAvailabilityResponse(capital=capital)

    async def _capital(
        self, session: AsyncSession, books: TierBooks, parameters: TierParameters, prices: Prices | None
    ) -> pb.TierCapital:
        joining: int | None = None
        with contextlib.suppress(Unavailable):
            joining = await self._parts.valuation.joining(session, books, prices)
        return convert_risk.tier_capital_message(books, parameters.utilization_max_bps, joining)

    async def GetPoolHealth(self, request: pb.GetPoolHealthRequest, context: Context) -> pb.GetPoolHealthResponse:
        """Every tier and token. Without good prices there is no stress table."""
        prices = {token: await self._parts.valuation.prices(token) for token in Token}
        parameters = {tier: await self._parts.parameters.tier(tier) for tier in Tier}
        response = pb.GetPoolHealthResponse()
        async with self._parts.database.transaction() as session:
            for tier, token in itertools.product(Tier, Token):
                books = await store.tier_books(session, tier, token)
                bounds = parameters[tier]
                capital = await self._capital(session, books, bounds, prices[token])
                found = await self._parts.risk.assess(session, books, bounds.utilization_max_bps, prices[token])
                response.tiers.append(convert_risk.tier_health_message(capital, found))
        return response

    async def GetPoolStatement(
        self, request: pb.GetPoolStatementRequest, context: Context
    ) -> pb.GetPoolStatementResponse:
        """All accounts, now or at a height; their balances sum to zero per token, what is owed being negative."""
        if request.burn_height < 0:
            raise InvalidArgument.of("burn_height", "must not be negative")
        async with self._parts.database.snapshot() as session:
            height = (await store.read_cursor(session)).projected_burn_height
            if request.burn_height > height:
                raise FailedPrecondition("BOOKS_BEHIND", "the books have not reached this height", projected=height)
            at = request.burn_height or height
            balances = await (
                store_closings.balances_at(session, at) if request.burn_height else store.balances(session)
            )
            reserved = {} if request.burn_height else await store_coverage.reserved_by_token(session)
        response = pb.GetPoolStatementResponse(projected_burn_height=at)
        for (account, token), balance in balances.items():
            response.accounts.add(account=account, token=_token(token), balance_delta_base_units=balance)
        for token in Token:
            locked = sum(balances.get((ledger.locked_collateral(tier, token), token), 0) for tier in Tier)
            response.totals.add(
                token=_token(token),
                ledger_balance_base_units=balances.get((ledger.vault_cash(token), token), 0),
                ledger_locked_base_units=-locked,
                platform_fees_base_units=-balances.get((ledger.platform_fees(token), token), 0),
                reserved_base_units=reserved.get(token, 0),
            )
        return response

    async def ListPositions(self, request: pb.ListPositionsRequest, context: Context) -> pb.ListPositionsResponse:
        """The caller's positions. Unavailable while open policies cannot be valued."""
        provider = current_caller().principal_for(request.provider_principal)
        prices = {token: await self._parts.valuation.prices(token) for token in Token}
        response = pb.ListPositionsResponse()
        async with self._parts.database.transaction() as session:
            held = await store_positions.shares_of(session, provider)
            unpriced = await store_positions.unpriced_of(session, provider)
            for tier, token in sorted({*held, *unpriced}):
                count = held.get((tier, token), 0)
                response.positions.add(
                    tier=money_pb2.Tier.ValueType(int(tier)),
                    token=_token(token),
                    shares=count,
                    value_base_units=await self._value(session, tier, token, count, prices[token]),
                    unpriced_base_units=unpriced.get((tier, token), 0),
                )
        return response

    async def _value(self, session: AsyncSession, tier: Tier, token: Token, count: int, prices: Prices | None) -> int:
        if count == 0:
            return 0
        books = await store.tier_books(session, tier, token)
        assets = await self._parts.valuation.leaving(session, books, prices)
        return shares.amount_for(count, books.shares, assets)

    async def ListStatementLines(
        self, request: pb.ListStatementLinesRequest, context: Context
    ) -> pb.ListStatementLinesResponse:
        """The caller's lines, newest first, by pages."""
        provider = current_caller().principal_for(request.provider_principal)
        size = page_size(request.page_size, _PAGE_SIZE, _LARGEST_PAGE)
        before = convert_journal.from_page_token("line", request.page_token)
        async with self._parts.database.transaction() as session:
            rows = await store_positions.statement_lines(session, provider, before, size + 1)
        response = pb.ListStatementLinesResponse(lines=map(convert.line_message, rows[:size]))
        if len(rows) > size:
            response.next_page_token = convert_journal.page_token("line", rows[size - 1].id)
        return response


def _token(token: Token) -> money_pb2.Token.ValueType:
    return money_pb2.Token.ValueType(int(token))

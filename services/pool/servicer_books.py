"""Methods that read the books: tiers, health, statement, positions."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc
from bithedge.type.v1 import money_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import InvalidArgument, Unavailable
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from kernel.units import Tier, Token
from services.pool import convert, convert_reports, store, store_coverage, store_positions
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.utilization import Stress, coverage_bps
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
        async with self._parts.database.transaction() as session:
            capital = await self._capital(session, await store.tier_books(session, tier, token))
        return pb.GetTierAvailabilityResponse(capital=capital)

    async def _capital(self, session: AsyncSession, books: TierBooks) -> pb.TierCapital:
        parameters = await self._parts.parameters.tier(books.tier)
        joining: int | None = None
        try:
            prices = await self._parts.valuation.prices_for(books)
            joining = await self._parts.valuation.joining(session, books, prices)
        except Unavailable:
            joining = None
        return convert_reports.tier_capital_message(books, parameters.utilization_max_bps, joining)

    async def GetPoolHealth(self, request: pb.GetPoolHealthRequest, context: Context) -> pb.GetPoolHealthResponse:
        """Every tier and token. Without a good price there is no stress table for what has open policies."""
        response = pb.GetPoolHealthResponse()
        async with self._parts.database.transaction() as session:
            for tier in Tier:
                for token in Token:
                    books = await store.tier_books(session, tier, token)
                    health = response.tiers.add(coverage_bps=coverage_bps(books))
                    health.capital.CopyFrom(await self._capital(session, books))
                    health.stresses.extend(map(convert.stress_message, await self._stresses(session, books)))
        return response

    async def _stresses(self, session: AsyncSession, books: TierBooks) -> tuple[Stress, ...]:
        try:
            observed = await self._parts.valuation.observe(books.token)
        except Unavailable:
            return ()
        return await self._parts.valuation.stresses(session, books, observed.prices)

    async def GetPoolStatement(
        self, request: pb.GetPoolStatementRequest, context: Context
    ) -> pb.GetPoolStatementResponse:
        """All accounts; their balances sum to zero per token. What is owned is positive, what is owed negative."""
        async with self._parts.database.transaction() as session:
            cursor = await store.read_cursor(session)
            balances = await store.balances(session)
            reserved = await store_coverage.reserved_by_token(session)
        response = pb.GetPoolStatementResponse(projected_burn_height=cursor.projected_burn_height)
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
                    value_base_units=await self._value(session, tier, token, count),
                    unpriced_base_units=unpriced.get((tier, token), 0),
                )
        return response

    async def _value(self, session: AsyncSession, tier: Tier, token: Token, count: int) -> int:
        if count == 0:
            return 0
        books = await store.tier_books(session, tier, token)
        prices = await self._parts.valuation.prices_for(books)
        assets = await self._parts.valuation.leaving(session, books, prices)
        return shares.amount_for(count, books.shares, assets)

    async def ListStatementLines(
        self, request: pb.ListStatementLinesRequest, context: Context
    ) -> pb.ListStatementLinesResponse:
        """The caller's lines, newest first, by pages."""
        provider = current_caller().principal_for(request.provider_principal)
        if request.page_size < 0:
            raise InvalidArgument.of("page_size", "must not be negative")
        size = min(request.page_size or _PAGE_SIZE, _LARGEST_PAGE)
        before = _decode_page_token(request.page_token) if request.page_token else None
        async with self._parts.database.transaction() as session:
            rows = await store_positions.statement_lines(session, provider, before, size + 1)
        response = pb.ListStatementLinesResponse(lines=map(convert.line_message, rows[:size]))
        if len(rows) > size:
            response.next_page_token = base64.urlsafe_b64encode(f"line:{rows[size - 1].id}".encode()).decode()
        return response


def _token(token: Token) -> money_pb2.Token.ValueType:
    return money_pb2.Token.ValueType(int(token))


def _decode_page_token(text: str) -> int:
    try:
        prefix, _, number = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        if prefix == "line":
            return int(number)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument.of("page_token", "not a token of ours", "INVALID_PAGE_TOKEN") from error
    raise InvalidArgument.of("page_token", "not a token of ours", "INVALID_PAGE_TOKEN")

"""What open policies claim of a tier, at given prices; read once for as long as neither books nor prices change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Token
from services.pool import store, store_coverage
from services.pool.domain import shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
from services.pool.market import ObservedPrices, OraclePrices


@dataclass(frozen=True)
class Assets:
    """Net assets of a tier in one token for those who join and for those who leave, base units."""

    joining: int
    leaving: int


class Valuation:
    """Net assets of tiers."""

    def __init__(self, oracle: OraclePrices) -> None:
        self._oracle = oracle
        self._cached: dict[tuple[object, ...], Assets] = {}

    async def observe(self, token: Token) -> ObservedPrices:
        """The latest good prices that policies settled in `token` need; Unavailable if there are none."""
        return await self._oracle.latest(token)

    async def assets_now(self, session: AsyncSession, books: TierBooks) -> Assets:
        """Net assets at the latest good prices; without any open policy no price is needed."""
        if books.locked == 0:
            return Assets(books.total, books.total)
        observed = await self.observe(books.token)
        return await self.assets(session, books, observed.prices)

    async def assets(self, session: AsyncSession, books: TierBooks, prices: Prices) -> Assets:
        """Net assets at these prices, the books as they are now."""
        height = (await store.read_cursor(session)).projected_burn_height
        key = (books.tier, books.token, prices, height, await store.last_entry_id(session))
        if key not in self._cached:
            stale = [old for old in self._cached if old[:2] == key[:2]]
            result = await self._compute(session, books, prices, height)
            for old in stale:
                self._cached.pop(old, None)
            self._cached[key] = result
        return self._cached[key]

    async def _compute(self, session: AsyncSession, books: TierBooks, prices: Prices, height: int) -> Assets:
        policies = await store_coverage.open_policies(session, books.tier, books.token)
        joining, leaving = await asyncio.to_thread(
            lambda: (
                shares.claims_when_joining(policies, prices),
                shares.claims_when_leaving(policies, prices, height),
            )
        )
        return Assets(shares.net_assets(books.total, joining), shares.net_assets(books.total, leaving))

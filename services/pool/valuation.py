"""What open policies claim of a tier, at given prices; read once for as long as neither books nor prices change."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Hashable
from dataclasses import replace
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import Unavailable
from kernel.units import Tier, Token
from services.pool import store
from services.pool.decisions import Decisions
from services.pool.domain import shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
from services.pool.expiries import Expiries
from services.pool.market import ObservedPrices, OraclePrices
from services.pool.open_policies import OpenPolicies

# Callers of what is only shown wait for about a second.
_SHOWN_WITHIN_SECONDS: Final = 0.5


class Valuation:
    """Net assets of tiers, base units."""

    def __init__(self, oracle: OraclePrices, decisions: Decisions, expiries: Expiries, policies: OpenPolicies) -> None:
        self._oracle = oracle
        self.decisions = decisions
        self._expiries = expiries
        self._policies = policies
        self._marking = asyncio.Lock()
        self._known: dict[tuple[str, Tier, Token], tuple[Hashable, int]] = {}

    async def observe(self, token: Token, after: dt.datetime) -> ObservedPrices:
        """The first good prices after a market time that policies settled in `token` need.

        Unavailable until there are some. Everything that was decided before they were observed is known then, and what
        decides that which has expired.
        """
        observed = await self._oracle.first_after(token, after)
        await self.decisions.learn()
        return replace(observed, prices=await self._with_expiries(observed.prices))

    async def prices(self, token: Token) -> Prices | None:
        """The latest good prices, for showing; None while there are none, or the oracle is slow."""
        try:
            async with asyncio.timeout(_SHOWN_WITHIN_SECONDS):
                prices = await self._with_expiries(await self._oracle.latest(token))
                return replace(prices, burn_height=None)
        except (Unavailable, TimeoutError):
            return None

    async def _with_expiries(self, prices: Prices) -> Prices:
        return replace(prices, expiries=await self._expiries.undecided())

    async def joining(self, session: AsyncSession, books: TierBooks, prices: Prices | None) -> int:
        """Net assets for those who join: capital less the model values of open policies.

        Without prices Unavailable, unless no policy is open.
        """
        return shares.net_assets(books.total, await self._claims("joining", session, books, prices))

    async def leaving(self, session: AsyncSession, books: TierBooks, prices: Prices | None) -> int:
        """Net assets for those who leave: capital less their model values, or visible losses and what is not earned.

        Without prices Unavailable, unless no policy is open.
        """
        return shares.net_assets(books.total, await self._claims("leaving", session, books, prices))

    async def _claims(self, kind: str, session: AsyncSession, books: TierBooks, prices: Prices | None) -> int:
        if books.locked == 0:
            return 0
        if prices is None:
            raise Unavailable("PRICE_UNAVAILABLE", "open policies cannot be valued now")
        height = await valued_at(session, prices)
        state = (prices, height, await store.version(session))
        key = (kind, books.tier, books.token)
        # A new price concerns every caller at once: one of them marks, the others take what it found.
        async with self._marking:
            known = self._known.get(key)
            if known is None or known[0] != state:
                known = (state, await self._sum(kind, session, books, prices, height))
                self._known[key] = known
        return known[1]

    async def _sum(self, kind: str, session: AsyncSession, books: TierBooks, prices: Prices, height: int) -> int:
        if prices.volatility is None:
            raise Unavailable("VOLATILITY_UNAVAILABLE", "open policies cannot be valued without a volatility")
        book, premiums = (await self._policies.book(session, books.tier, books.token)).written_by(height)
        claims = book.claims_when_joining if kind == "joining" else book.claims_when_leaving
        return premiums + await asyncio.to_thread(claims, prices, prices.volatility, height)


async def valued_at(session: AsyncSession, prices: Prices) -> int:
    """The burn height as of which policies are valued: that of the books, or of the prices where they are older."""
    height = (await store.read_cursor(session)).projected_burn_height
    return height if prices.burn_height is None else min(height, prices.burn_height)

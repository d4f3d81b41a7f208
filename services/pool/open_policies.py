"""The open policies of every tier and token, kept as columns for as long as neither ledger nor decisions move."""

from __future__ import annotations

from collections.abc import Hashable

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool import store, store_book
from services.pool.domain.book import Book


class OpenPolicies:
    """Reads a book once per state of the books: prices move every second, policies with the chain and with receipts."""

    def __init__(self) -> None:
        self._known: dict[tuple[Tier, Token], tuple[Hashable, Book]] = {}

    async def book(self, session: AsyncSession, tier: Tier, token: Token) -> Book:
        """The open policies of a tier and token as of the last entry of the ledger and the last decision."""
        version = await store.version(session)
        known = self._known.get((tier, token))
        if known is None or known[0] != version:
            known = (version, await store_book.read_book(session, tier, token))
            self._known[tier, token] = known
        return known[1]

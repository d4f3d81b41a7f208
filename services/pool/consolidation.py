"""Shares of a tier that has lost what stood behind them are made fewer, so that somebody can join again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from services.pool import store_journal, store_positions
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.withdrawal import WithdrawalRefusal

SHARES_CONSOLIDATED: Final = "shares consolidated"
WORTH_LESS_THAN_A_THOUSANDTH: Final = "WORTH_LESS_THAN_A_THOUSANDTH"
_LINES_OF_AN_ENTRY: Final = 100


async def consolidate(session: AsyncSession, books: TierBooks, cause: ledger.Cause) -> TierBooks:
    """Leaves everybody shares worth one base unit each, none where nothing is left, and refuses what waits to leave.

    For a worthless tier without open policies, under its lock: its books as they are then. Every holder has a line in
    one of the entries that follow each other under `cause`, which are of a size that a list of them can be read.
    """
    held = await store_positions.holders(session, books.tier, books.token)
    left = {who: shares.consolidated(count, books.shares, books.total) for who, count in held.items()}
    lines = [
        store_journal.Line(who, SHARES_CONSOLIDATED, books.tier, books.token, 0, left[who] - count)
        for who, count in held.items()
    ]
    entries = []
    for number, first in enumerate(range(0, len(lines), _LINES_OF_AN_ENTRY), start=1):
        entry = ledger.shares_consolidated(replace(cause, key=f"{cause.key}/{number}"), WORTH_LESS_THAN_A_THOUSANDTH)
        entries.append(store_journal.NewEntry(entry, lines[first : first + _LINES_OF_AN_ENTRY]))
    await store_journal.post_entries(session, entries)
    # They were for shares of before; nobody loses by asking again, for without open policies their worth stands still.
    refusal = WithdrawalRefusal.SHARES_CONSOLIDATED
    await store_positions.refuse_queue(session, books.tier, books.token, refusal)
    return replace(books, shares=sum(left.values()), queued_shares=0)

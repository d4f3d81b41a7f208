"""What the triggers of the journal read, in books that are still small when their queries are planned."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.units import Tier, Token
from services.pool.__main__ import MIGRATIONS
from services.pool.domain import ledger
from services.pool.store_journal import NewEntry, post_entries

_PAGES, _ENTRIES = 8, 1_000
# Rows that this transaction had from each table and index.
_READ: Final = sa.text(
    "SELECT relname, pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid) AS rows FROM pg_class"
    " WHERE relnamespace = 'pool'::regnamespace AND relkind IN ('r', 'i')"
)


async def _post_a_page(session: AsyncSession, page: int) -> dict[str, int]:
    entries = []
    for number in range(_ENTRIES):
        cause = ledger.Cause(f"{page}/{number}", page, wall_now())
        entries.append(NewEntry(ledger.policy_expired(cause, Tier.BALANCED, Token.STX, 1 + number)))
    assert None not in await post_entries(session, entries)
    rows = await (await session.connection()).execute(_READ)
    return {row.relname: row.rows for row in rows}


async def test_posting_reads_what_it_posts_and_not_the_ledger(module_database_url: str) -> None:
    """The plans of a session are made when there is little to read, and kept: later pages read no more than earlier
    ones of any table or index, however long the journal has become."""
    await migrate(module_database_url, "pool", MIGRATIONS)
    database = Database(module_database_url)
    async with database.transaction() as session:
        read = [await _post_a_page(session, page) for page in range(_PAGES)]
    await database.close()
    half = read[_PAGES // 2 - 1]
    assert half["posting_once"] > 0
    more = {name: (half[name], rows - half[name]) for name, rows in read[-1].items()}
    assert {name: rows for name, rows in more.items() if rows[1] > rows[0] + _ENTRIES} == {}

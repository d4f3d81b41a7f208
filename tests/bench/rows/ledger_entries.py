"""Entries posted to the ledger per second, beside raw inserts of the same rows.

Entries of policies that end, a tenth with a payout, 200 of them by a statement and in a transaction, as the pool's
projector has them posted: each once for its cause, its postings checked to sum to zero, balances and the heights of its
tier kept. The yardstick inserts the same entries and postings with raw asyncpg, a statement of many rows for each table
and a transaction per 200 entries, into tables with the same indexes and none of the checks.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Final

import asyncpg

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.units import Tier, Token
from services.pool.__main__ import MIGRATIONS
from services.pool.domain import ledger
from services.pool.store_journal import NewEntry, post_entries
from tests.bench.raw_entries import ENTRIES, STATEMENTS, RawInserts
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.postgres import create_database

_COLLATERAL: Final = 1_000_000


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    async with AsyncExitStack() as stack:
        url = await create_database(stack.enter_context(bench.postgres()))
        await migrate(url, "pool", MIGRATIONS)
        database = Database(url)
        stack.push_async_callback(database.close)
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await _posted(database)
        inserts = await RawInserts.of_posted(connection)
        samples = await bench.in_turns(lambda: _posted(database), inserts.per_second)
        return of_samples(*samples, "entries/s", at_least(0.4), {"entries": ENTRIES * STATEMENTS})


async def _posted(database: Database) -> float:
    """Entries per second; they are made before."""
    pages = [[_entry(number) for number in range(ENTRIES)] for _ in range(STATEMENTS)]
    start = time.perf_counter()
    for page in pages:
        async with database.transaction() as session:
            assert None not in await post_entries(session, page)
    return ENTRIES * STATEMENTS / (time.perf_counter() - start)


def _entry(number: int) -> NewEntry:
    cause = ledger.Cause(f"{new_id()}{new_id()}/1", 1, wall_now(), subject=new_id())
    what = Tier.BALANCED, Token.SBTC
    if number % 10:
        return NewEntry(ledger.policy_expired(cause, *what, _COLLATERAL))
    return NewEntry(ledger.policy_settled(cause, *what, _COLLATERAL // 2, _COLLATERAL))

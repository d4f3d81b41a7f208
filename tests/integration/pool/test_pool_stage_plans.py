"""Every statement of the stage goes by an index, beside what is staged for many other reports."""

from __future__ import annotations

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import driver_connection
from kernel.units import Token
from services.pool import store_stage
from services.pool.domain.reconciliation import PolicyFact
from services.pool.store_stage import Book, Staged
from tests.integration.policy.plans import noting, scanned
from tests.integration.pool.pool_service import RunningPool

_ROWS = """INSERT INTO pool.reconciliation_fact
    SELECT 'r' || n % 100, 'contracts', lpad(n::text, 32, '0'), 'ACTIVE', 1, 1, 0 FROM generate_series(1, 20000) n"""
_BOOKS = """INSERT INTO pool.reconciliation_book
    SELECT 'r' || n, 'contracts', 'ab', 0, now() FROM generate_series(0, 99) n"""


async def test_no_statement_of_the_stage_reads_what_is_of_other_reports(pool: RunningPool, database_url: str) -> None:
    """Pages are added, read, added up and forgotten by the key; only who gave up is looked for among all reports."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in (_ROWS, _BOOKS, "VACUUM ANALYZE pool.reconciliation_fact, pool.reconciliation_book"):
            await connection.execute(statement)
    finally:
        await connection.close()
    policy, book = f"{500:032}", Book.CONTRACTS
    with noting(pool.database) as statements:
        async with AsyncSession(pool.database.engine) as session:
            driver = await driver_connection(session)
            driver.add_query_logger(statements.note_query)
            await store_stage.lock(session, "r0")
            assert await store_stage.staged(session, "r0", book) == Staged("ab", 0)
            await store_stage.add(
                session, "r0", book, Staged("ab", 9), {policy: PolicyFact("SETTLED", Token.STX, 2, 1)}
            )
            assert list(await store_stage.facts_after(session, "r0", book, policy, 1)) == [f"{600:032}"]
            assert (await store_stage.facts_of(session, "r0", book, [policy]))[policy].payout == 1
            assert await store_stage.covered(session, "r0") == {Token.STX: 199}
            assert await store_stage.abandoned(session) == []
            await store_stage.end(session, "r0")
            assert await store_stage.staged(session, "r0", book) is None
            driver.remove_query_logger(statements.note_query)
            await session.rollback()
    found = await scanned(database_url, statements)
    assert {statement for statement, tables in found.items() if "reconciliation_fact" in tables} == set()

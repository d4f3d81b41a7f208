"""Every statement of the pool's store goes by an index, on tables large enough that the planner would rather scan."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import sqlalchemy as sa
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.outbox import OutboxRecord, Relay
from services.pool import (
    store,
    store_closings,
    store_coverage,
    store_decisions,
    store_feed,
    store_journal,
    store_pages,
    store_position_rows,
    store_positions,
    store_reports,
    store_stage,
    store_statement,
    store_terms,
    tables,
)
from tests.integration.policy.plans import Statements, functions_of, noting, scanned, sent
from tests.integration.pool import large_books
from tests.integration.pool.store_calls import CASES, Full

STORES: Final = (
    store,
    store_closings,
    store_coverage,
    store_decisions,
    store_feed,
    store_journal,
    store_pages,
    store_position_rows,
    store_positions,
    store_reports,
    store_stage,
    store_statement,
    store_terms,
)
# Not looked at: read_book copies every open policy of a tier, and the end of a rebuild is told of it once.
NOT_HERE: Final = {"store_arrays", "store_book", "store_rebuild"}
# One row, or one for each tier and token, account of the ledger or reconciliation that is being made, however many
# policies and providers there are; late entries are those for heights that were closed before, hardly ever any.
SMALL: Final = {"cursor", "decision_cursor", "tier_lock", "tier_shares", "account_balance", "lease"} | {
    "reconciliation_book",
    "late_entry",
    "reconciliation_found",
}
# What may read more than an index finds, and why that is right.
EXCEPTED: Final = {
    "store_journal.faults": "reads the whole journal, to say whether it is in order",
    "store_reports.read_positions": "adds up for reconciliation what is open and what is reserved",
    "store_coverage.covers_after": "leaves out what a reorganisation beyond finality took back, hardly ever any",
    "store_terms.ledger_differs": "looks for differences in every policy that is staged",
    "store_terms.service_differs": "looks for differences in every policy that is staged",
    "store_position_rows.differing": "reads every deposit and withdrawal beside the lines that were written for them",
}


@pytest.fixture(scope="module")
async def full(module_database_url: str) -> AsyncIterator[Full]:
    """10,000 policies and 2,000 providers."""
    await large_books.fill(module_database_url)
    database = Database(module_database_url)

    async def middle(session: AsyncSession, table: Any, where: str = "true") -> Any:
        found = (await session.exec(select(table).where(sa.text(where)).order_by(*table.__table__.primary_key))).all()
        return found[len(found) // 2]

    async with database.reading() as session:
        deposit = await middle(session, tables.Deposit)
        yield Full(
            module_database_url,
            database,
            deposit.provider,
            deposit.id,
            (await middle(session, tables.Coverage, "status = 'ACTIVE'")).policy_id,
            await middle(session, tables.JournalEntry),
            await middle(session, tables.Withdrawal, "state = 'REQUESTED'"),
        )
    await database.close()


def case_names() -> list[str]:
    """Every coroutine that a store offers, but for the exceptions."""
    found = functions_of(STORES)
    assert set(EXCEPTED) <= set(found)
    return [name for name in found if name not in EXCEPTED]


@pytest.mark.parametrize("name", case_names())
async def test_the_store_never_reads_a_large_table_from_end_to_end(full: Full, name: str) -> None:
    """Of each function of the store, and of each list that it can be asked for, every plan goes by an index."""
    statements = await sent(full.database, lambda session: CASES[name](session, full))
    assert statements.issued, f"{name} issued nothing"
    found = await scanned(full.url, statements)
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


def test_no_store_is_forgotten() -> None:
    """Every module of SQL is looked at, or named as one that is not."""
    found = {path.stem for path in Path(inspect.getfile(store)).parent.glob("store*.py")}
    assert found == {module.__name__.rpartition(".")[2] for module in STORES} | NOT_HERE


async def test_the_outbox_is_read_by_index(full: Full) -> None:
    """What is due, and how much waits, is found beside all that was delivered."""

    async def deliver(row: OutboxRecord) -> None:
        assert row.kind == "start"

    with noting(full.database) as statements:
        assert await Relay(full.database, tables.Outbox, deliver).deliver_due() > 0
    found = await scanned(full.url, statements)
    assert found == {}


@pytest.mark.parametrize(
    "condition",
    [
        "burn_height % 7 = 3",
        "event = 'x' OR reverses IN (SELECT id FROM pool.journal_entry WHERE event = 'x')",
        "EXISTS (SELECT FROM pool.statement_line WHERE entry_id = journal_entry.id AND amount > 0)",
    ],
)
async def test_a_walk_along_a_whole_index_is_no_use_of_it(full: Full, condition: str) -> None:
    """Newest first with a limit the planner takes the key's index, and a filter or a join discards what it finds."""
    statement = f"SELECT id FROM pool.journal_entry WHERE {condition} ORDER BY id DESC LIMIT 50"
    connection = await asyncpg.connect(full.url)
    try:
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))
    finally:
        await connection.close()
    assert "Seq Scan on journal_entry" not in plan
    found = await scanned(full.url, Statements([(statement, ())]))
    assert set(found.get(statement, ())) & {"journal_entry"}, plan

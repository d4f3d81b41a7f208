"""Every statement of the pool's store goes by an index, on tables large enough that the planner would rather scan."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import asyncpg
import pytest
import sqlalchemy as sa
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, driver_connection
from kernel.outbox import OutboxRecord, Relay
from kernel.units import Tier, Token
from services.pool import (
    projection,
    store,
    store_coverage,
    store_decisions,
    store_feed,
    store_journal,
    store_pages,
    store_positions,
    store_reports,
    store_statement,
    tables,
)
from services.pool.domain import chain_event as chain
from services.pool.domain.collateral import ReservationState
from services.pool.domain.decision import Decision
from services.pool.domain.ledger import Cause, Entry, EntryKind, Posting
from services.pool.domain.shares import OpenPolicy
from services.pool.store_journal import EntryFilter
from tests.integration.policy.plans import Statements, noting, scanned
from tests.integration.pool import large_books
from tests.load.policies import TIP

STORES: Final = (
    store,
    store_coverage,
    store_decisions,
    store_feed,
    store_journal,
    store_pages,
    store_positions,
    store_reports,
    store_statement,
)
# One row, or one for each tier and token or account of the ledger, however many policies and providers there are.
SMALL: Final = {"cursor", "decision_cursor", "tier_lock", "tier_shares", "account_balance", "lease"}
# What may read more than an index finds, and why that is right.
EXCEPTED: Final = {
    "store_journal.faults": "reads the whole journal, to say whether it is in order",
    "store_reports.read_positions": "adds up for reconciliation what is open and what is reserved",
    "store_coverage.covers_after": "leaves out what a reorganisation beyond finality took back, hardly ever any",
    "store.balances_at": "reads back the whole journal from now to the height that it is asked for",
}
BALANCED, STX = Tier.BALANCED, Token.STX
NOW: Final = wall_now()
ENTRY: Final = Entry(Cause("x/0", 1, NOW), EntryKind.CORRECTION, (Posting("a", STX, 1), Posting("b", STX, -1)))


@dataclass(frozen=True)
class Full:
    """Full books, and something in the middle of each kind of them."""

    url: str
    database: Database
    provider: str
    deposit: str
    policy: str
    entry: tables.JournalEntry
    withdrawal: tables.Withdrawal

    @property
    def event(self) -> str:
        """An event with an entry."""
        return self.entry.event


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
    found = [
        f"{_short(module)}.{name}"
        for module in STORES
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert set(EXCEPTED) <= set(found)
    return [name for name in found if name not in EXCEPTED]


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


async def noted(full: Full, calls: Callable[[AsyncSession, Full], list[Awaitable[Any]]]) -> Statements:
    """What some calls send, through the engine and past it; nothing of it stays."""
    with noting(full.database) as statements:
        async with AsyncSession(full.database.engine) as session:
            driver = await driver_connection(session)
            driver.add_query_logger(statements.note_query)
            for call in calls(session, full):
                await call
            await session.flush()
            driver.remove_query_logger(statements.note_query)
            await session.rollback()
    return statements


@pytest.mark.parametrize("name", case_names())
async def test_the_store_never_reads_a_large_table_from_end_to_end(full: Full, name: str) -> None:
    """Of each function of the store, and of each list that it can be asked for, every plan goes by an index."""
    statements = await noted(full, CASES[name])
    assert statements.issued, f"{name} issued nothing"
    found = await scanned(full.url, statements)
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


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


def entry_lists(session: AsyncSession, full: Full) -> list[Awaitable[Any]]:
    """Every kind of list of entries, at its start and further on."""
    filters = [
        EntryFilter(cause, subject, provider, before)
        for cause in ("", full.event)
        for subject in ("", full.entry.subject or "x")
        for provider in ("", full.provider)
        for before in (None, full.entry.id)
    ]
    return [store_journal.list_entries(session, wanted, 51) for wanted in filters]


def page(full: Full) -> projection.Page:
    """A page with a change of each kind."""
    held = projection.Covered(BALANCED, STX, 2, "EXPIRED", 0, 1)
    opened = chain.PolicyCreated("x", 1, BALANCED, OpenPolicy(STX, 1, 2, 1, 1, 1, 1, 2), 0, auto_settle=True)
    line = store_journal.Line(full.provider, projection.DEPOSIT, BALANCED, STX, 1)
    return projection.Page(
        policies={"x": projection.Covered(BALANCED, STX, 1)},
        changes=projection.Changes(
            entries=[store_journal.NewEntry(ENTRY, [line])],
            created={"x": opened},
            ended={full.policy: held},
            committed=[full.policy],
            deposits=[projection.NewDeposit("x", line, ENTRY.cause, NOW)],
            unknown=[(ENTRY.cause, "X", b"")],
        ),
    )


def events(full: Full) -> list[chain.ChainEvent]:
    """Events about something of each kind."""
    ends = chain.PolicyExpired(full.policy, STX, 1)
    opened = chain.PolicyCreated(full.policy, 1, BALANCED, OpenPolicy(STX, 1, 2, 1, 1, 1, 1, 2), 0, auto_settle=True)
    voucher = chain.VoucherDelayed(full.withdrawal.id, 1)
    cause = Cause(full.event, 1, NOW, full.entry.txid)
    return [
        chain.ChainEvent(cause, withdrawn=False, backend_fee_ustx=1, payload=one) for one in (ends, opened, voucher)
    ]


Case = Callable[[AsyncSession, Full], list[Awaitable[Any]]]


def one(make: Callable[[AsyncSession, Full], Awaitable[Any]]) -> Case:
    """A case of a single call."""
    return lambda session, full: [make(session, full)]


TIER: Final = (BALANCED, STX)
CASES: dict[str, Case] = {
    "store.read_cursor": one(lambda s, f: store.read_cursor(s, lock=True)),
    "store.lock_cursor": one(lambda s, f: store.lock_cursor(s)),
    "store.move_cursor": one(lambda s, f: store.move_cursor(s, "1", 1, NOW, "")),
    "store.anything_due": one(lambda s, f: store.anything_due(s, 0)),
    "store.clear_halt": one(lambda s, f: store.clear_halt(s)),
    "store.lock_tiers": lambda s, f: [store.lock_tiers(s), store.lock_tiers(s, *TIER)],
    "store.lock_all_tiers": one(lambda s, f: store.lock_all_tiers(s)),
    "store.balances": lambda s, f: [store.balances(s), store.balances(s, ["x"])],
    "store.tier_books": one(lambda s, f: store.tier_books(s, *TIER)),
    "store.version": one(lambda s, f: store.version(s)),
    "store_coverage.lock_principal": one(lambda s, f: store_coverage.lock_principal(s, f.provider)),
    "store_coverage.get_reservation": one(lambda s, f: store_coverage.get_reservation(s, f.policy, lock=True)),
    "store_coverage.count_unpaid": one(lambda s, f: store_coverage.count_unpaid(s, f.provider, *TIER)),
    "store_coverage.end_reservation": one(
        lambda s, f: store_coverage.end_reservation(s, f.policy, ReservationState.RELEASED, "x")
    ),
    "store_coverage.release_unpaid": one(lambda s, f: store_coverage.release_unpaid(s, TIP)),
    "store_coverage.reserved_by_token": one(lambda s, f: store_coverage.reserved_by_token(s)),
    "store_coverage.get_coverage": one(lambda s, f: store_coverage.get_coverage(s, f.policy)),
    "store_coverage.covers_after": one(lambda s, f: store_coverage.covers_after(s, f.policy, 1_000)),
    "store_coverage.covers_of": one(lambda s, f: store_coverage.covers_of(s, [f.policy] * 200)),
    "store_decisions.read_cursor": one(lambda s, f: store_decisions.read_cursor(s)),
    "store_decisions.move_cursor": one(lambda s, f: store_decisions.move_cursor(s, "", "1")),
    "store_decisions.undecided_heights": one(lambda s, f: store_decisions.undecided_heights(s, TIP + 10_000)),
    "store_decisions.add_decisions": one(lambda s, f: store_decisions.add_decisions(s, [Decision(None, 1, 1, 1)])),
    "store_feed.list_principal_lines": one(lambda s, f: store_feed.list_principal_lines(s, f.provider, 5_000, 50)),
    "store_feed.list_told": one(lambda s, f: store_feed.list_told(s, 5_000, 1_000)),
    "store_journal.post_entries": one(
        lambda s, f: store_journal.post_entries(s, [store_journal.NewEntry(ENTRY, reverses=f.entry.id)])
    ),
    "store_journal.post_entry": one(lambda s, f: store_journal.post_entry(s, ENTRY)),
    "store_journal.standing_entry": one(lambda s, f: store_journal.standing_entry(s, f.event)),
    "store_journal.get_entry": one(lambda s, f: store_journal.get_entry(s, f.entry.id or 0)),
    "store_journal.list_entries": entry_lists,
    "store_pages.read_page": one(lambda s, f: store_pages.read_page(s, events(f), posted=True)),
    "store_pages.read_vouchers": one(lambda s, f: store_pages.read_vouchers(s, [f.withdrawal], [f.event])),
    "store_pages.write_page": one(lambda s, f: store_pages.write_page(s, page(f))),
    "store_positions.get_deposit": one(lambda s, f: store_positions.get_deposit(s, f.deposit, lock=True)),
    "store_positions.standing_deposit_of": one(
        lambda s, f: store_positions.standing_deposit_of(s, f.entry.txid, f.event.replace("/", "-"))
    ),
    "store_positions.get_withdrawal": one(lambda s, f: store_positions.get_withdrawal(s, f.withdrawal.id, lock=True)),
    "store_positions.lock_withdrawals": one(lambda s, f: store_positions.lock_withdrawals(s, [f.withdrawal.id] * 200)),
    "store_positions.ahead_in_queue": one(lambda s, f: store_positions.ahead_in_queue(s, f.withdrawal)),
    "store_positions.begin_next_turn": one(lambda s, f: store_positions.begin_next_turn(s, f.withdrawal, NOW, 1)),
    "store_positions.withdrawals_of": lambda s, f: [
        store_positions.withdrawals_of(s, f.provider, before, 51) for before in (None, f.withdrawal.id)
    ],
    "store_positions.lapsed_vouchers": one(lambda s, f: store_positions.lapsed_vouchers(s, TIP)),
    "store_positions.overdue_vouchers": one(lambda s, f: store_positions.overdue_vouchers(s, TIP)),
    "store_positions.shares_of": one(lambda s, f: store_positions.shares_of(s, f.provider)),
    "store_positions.pending_shares": one(lambda s, f: store_positions.pending_shares(s, f.provider, *TIER)),
    "store_positions.unpriced_of": one(lambda s, f: store_positions.unpriced_of(s, f.provider)),
    "store_positions.statement_lines": lambda s, f: [
        store_positions.statement_lines(s, f.provider, before, 51) for before in (None, 4_000)
    ],
    "store_reports.get_report": one(lambda s, f: store_reports.get_report(s, "x")),
    "store_reports.latest_report": one(lambda s, f: store_reports.latest_report(s)),
    "store_reports.booked_events": one(lambda s, f: store_reports.booked_events(s, [f.event] * 200)),
    "store_statement.holding_at": one(lambda s, f: store_statement.holding_at(s, f.provider, *TIER, 850_000)),
    "store_statement.steps_between": one(
        lambda s, f: store_statement.steps_between(s, f.provider, Tier(1), STX, 0, TIP)
    ),
}

"""Heights are closed once, and what is read from closings is what the postings sum up to, whatever comes late."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.lease import LeaderLease
from kernel.units import Tier, Token
from services.pool import store_closings, store_journal, store_statement
from services.pool.__main__ import MIGRATIONS
from services.pool.closings import SETTLED_BLOCKS, Closings
from services.pool.domain.ledger import Cause, Entry, EntryKind, Posting
from services.pool.store_journal import Line, NewEntry
from services.pool.tables import Lease
from tests.integration.pool.pool_service import RunningPool, eventually

_LAST: Final = 7
_HEIGHTS: Final = st.integers(0, _LAST)
_ACCOUNTS: Final = ("x", "y", "z")
_POST: Final = """WITH posted AS (
        INSERT INTO pool.journal_entry (cause, event, kind, burn_height, time, txid, reason)
        VALUES ($1, $1, 'GAS', $2, now(), '', '') RETURNING id
    ) INSERT INTO pool.posting (entry_id, account, token, amount)
    SELECT id, account, 1, amount FROM posted, (VALUES ('x', 5), ('y', -5)) AS given(account, amount)"""
# Between it and the height that was closed before there may be some with entries.
_BY_HAND: Final = """INSERT INTO pool.closing
    SELECT CAST(:height AS bigint) WHERE :height > coalesce((SELECT max(burn_height) FROM pool.closing), -1)"""
_WAITING: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = $1"


@dataclass(frozen=True)
class _Given:
    """An entry for a height that moves an amount from one account to the next, and perhaps a provider's shares."""

    height: int
    account: int
    token: Token
    amount: int
    shares: int


@dataclass(frozen=True)
class _Close:
    """The books reach a height, and so many heights with entries are closed; if none, that height, by hand."""

    projected: int
    times: int


_ENTRIES: Final = st.builds(
    _Given, _HEIGHTS, st.integers(0, 2), st.sampled_from(Token), st.integers(1, 100), st.integers(-3, 5)
)
_STEPS: Final = st.lists(
    st.one_of(
        st.lists(_ENTRIES, min_size=1, max_size=3),
        st.lists(_ENTRIES, min_size=1, max_size=3),
        st.builds(_Close, _HEIGHTS, st.integers(0, 3)),
    ),
    max_size=8,
)
Steps = Sequence[list[_Given] | _Close]


@pytest.fixture(scope="module")
async def database(module_database_url: str) -> AsyncIterator[Database]:
    """Empty books for all examples; none of them commits."""
    await migrate(module_database_url, "pool", MIGRATIONS)
    database = Database(module_database_url)
    yield database
    await database.close()


class _Books:
    """The books of an example, and what they must say by the plain sums."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._moved: list[tuple[int, str, Token, int]] = []
        self._issued: list[tuple[int, int]] = []

    async def play(self, steps: Steps) -> None:
        """Posts and closes in this order."""
        for step in steps:
            if isinstance(step, _Close):
                await self._execute("UPDATE pool.cursor SET projected_burn_height = :height", step.projected)
                if not step.times:
                    await self._execute(_BY_HAND, step.projected)
                for _ in range(step.times):
                    await store_closings.close_next(self._session, 0)
            else:
                assert None not in await store_journal.post_entries(self._session, list(map(self._entry, step)))

    async def _execute(self, statement: str, height: int) -> None:
        await (await self._session.connection()).execute(sa.text(statement), {"height": height})

    def _entry(self, given: _Given) -> NewEntry:
        accounts = _ACCOUNTS[given.account], _ACCOUNTS[given.account - 1]
        amounts = given.amount, -given.amount
        postings = tuple(map(Posting, accounts, (given.token, given.token), amounts))
        self._moved += [(given.height, one.account, one.token, one.amount) for one in postings]
        shares = max(given.shares, -sum(count for _, count in self._issued))
        self._issued.append((given.height, shares))
        cause = Cause(new_id(), given.height, wall_now())
        line = Line("SP-ALICE", "shares issued", Tier.BALANCED, Token.STX, 1, shares)
        return NewEntry(Entry(cause, EntryKind.SHARES_ISSUED, postings), [line])

    async def check(self) -> None:
        """What is read at each height is the sum of all that was posted for it and before."""
        for height in range(_LAST + 1):
            sums = Counter({(account, token): 0 for _, account, token, _ in self._moved})
            for at, account, token, amount in self._moved:
                sums[account, token] += amount if at <= height else 0
            assert await store_closings.balances_at(self._session, height) == sums
            found = await store_statement.holding_at(self._session, "SP-ALICE", Tier.BALANCED, Token.STX, height)
            assert found.shares == sum(count for at, count in self._issued if at <= height)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=_STEPS)
async def test_a_balance_at_any_height_is_the_sum_of_what_was_posted(database: Database, steps: Steps) -> None:
    """Entries for heights in any order, closings among them: balances and shares of every height are the plain sums,
    nothing contradicts the journal, and closings that are made anew say the same."""
    async with AsyncSession(database.engine) as session:
        books = _Books(session)
        await books.play(steps)
        await books.check()
        assert await store_journal.faults(session, 10) == []
        await (await session.connection()).execute(sa.text("SELECT pool.rebuild_closings()"))
        await books.check()
        await session.rollback()


async def _waits(watching: asyncpg.Connection[asyncpg.Record], pid: int) -> None:
    """Returns when a session waits for the lock that closing and posting share."""

    async def waiting() -> bool:
        return bool(await watching.fetchval(_WAITING, pid))

    await eventually(waiting)


@pytest.mark.parametrize("closing_first", [True, False])
async def test_what_is_posted_while_a_height_is_closed_counts_once(database_url: str, closing_first: bool) -> None:
    """An entry that is not committed yet is waited for and in the closing; one that comes while a closing is not
    committed yet waits for it, and is late."""
    await migrate(database_url, "pool", MIGRATIONS)
    connections = [await asyncpg.connect(database_url) for _ in range(3)]
    poster, closer, watching = connections
    await poster.execute(_POST, "before", 3)
    steps = [(poster, _POST, ("meanwhile", 3)), (closer, "INSERT INTO pool.closing VALUES (3)", ())]
    (first, statement, values), (second, following, others) = steps[::-1] if closing_first else steps
    async with first.transaction():
        await first.execute(statement, *values)
        waiting = asyncio.ensure_future(second.execute(following, *others))
        await _waits(watching, second.get_server_pid())
    await waiting
    closed = await watching.fetchval("SELECT balance FROM pool.account_closing WHERE account = 'x'")
    late = await watching.fetchval("SELECT count(*) FROM pool.late_entry")
    assert (closed, late) == ((5, 1) if closing_first else (10, 0))
    await asyncio.gather(*(connection.close() for connection in connections))
    database = Database(database_url)
    async with database.reading() as session:
        assert await store_closings.balances_at(session, 4) == {("x", Token.STX): 10, ("y", Token.STX): -10}
        assert await store_journal.faults(session, 10) == []
    await database.close()


async def test_replicas_close_what_has_settled(pool: RunningPool) -> None:
    """Of several that run, one closes every height with entries, but not the last few, which may still change."""
    await pool.final(pool.deposited("SP-ALICE", 1_000), blocks=3)
    await pool.final(pool.deposited("SP-BOB", 500), blocks=SETTLED_BLOCKS)
    settled, fresh = await _heights(pool, "SELECT DISTINCT burn_height FROM pool.journal_entry ORDER BY 1")
    replicas = [Closings(pool.database, LeaderLease(pool.database, Lease, "closings")) for _ in range(2)]
    running = [asyncio.ensure_future(one.run()) for one in replicas]

    async def closed() -> bool:
        return bool(await _heights(pool, "SELECT burn_height FROM pool.closing"))

    await eventually(closed)
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await _heights(pool, "SELECT burn_height FROM pool.closing") == [settled]
    await pool.final()
    async with pool.database.transaction() as session:
        assert await store_closings.close_next(session, SETTLED_BLOCKS) == fresh
        assert await store_closings.close_next(session, SETTLED_BLOCKS) is None


async def test_what_is_closed_stays_as_it_is(pool: RunningPool) -> None:
    """Nobody opens a height, closes an earlier one, or writes what a closing says; where the disk lies all the same,
    the check names it and a rebuild puts it right."""
    await pool.invest("SP-ALICE", 1_000)
    height = await pool.scalar("SELECT max(burn_height) FROM pool.journal_entry")
    await _execute(pool, f"INSERT INTO pool.closing VALUES ({height})")
    for statement, why in (
        ("DELETE FROM pool.closing", "append-only"),
        ("UPDATE pool.closing SET burn_height = 1", "append-only"),
        (f"INSERT INTO pool.closing VALUES ({height - 1})", "closed already"),
        ("UPDATE pool.account_closing SET balance = balance + 1", "is derived"),
        ("DELETE FROM pool.share_closing", "is derived"),
        ("INSERT INTO pool.late_entry VALUES (1, 1, 1)", "is derived"),
    ):
        with pytest.raises(DBAPIError, match=why):
            await _execute(pool, statement)
    await _execute(
        pool,
        "ALTER TABLE pool.account_closing DISABLE TRIGGER account_closing_derived",
        "ALTER TABLE pool.share_closing DISABLE TRIGGER share_closing_derived",
        "UPDATE pool.account_closing SET balance = balance + 1 WHERE account = 'vault_cash/STX'",
        "DELETE FROM pool.share_closing",
    )
    faults = [("CLOSING_NOT_DERIVED", f"vault_cash/STX 1 {height}")]
    faults += [("SHARE_CLOSING_NOT_DERIVED", f"SP-ALICE 2 1 {height}")]
    async with pool.database.reading() as session:
        assert await store_journal.faults(session, 10) == faults
        await _execute(pool, "SELECT pool.rebuild_derived()")
        assert await store_journal.faults(session, 10) == []
    with pytest.raises(DBAPIError, match="is derived"):
        await _execute(pool, "DELETE FROM pool.account_closing")


async def _heights(pool: RunningPool, statement: str) -> list[int]:
    async with pool.database.engine.connect() as connection:
        return list((await connection.execute(sa.text(statement))).scalars())


async def _execute(pool: RunningPool, *statements: str) -> None:
    async with pool.database.engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))

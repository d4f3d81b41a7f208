"""Rounds, publications and the outbox, which grow by the minute, are read by an index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, migrate
from kernel.outbox import OutboxRecord, Relay
from services.oracle import store, store_publications
from services.oracle.__main__ import MIGRATIONS
from services.oracle.domain.prices import Feed
from services.oracle.tables import Outbox
from tests.integration.policy.plans import noting, scanned

ROUNDS: Final = 10_000
MIDDLE: Final = ROUNDS // 2
BTC: Final = Feed.BTC_USD
_FILL: Final = f"""
INSERT INTO oracle.round (feed, round, status, reason, price_usd_e8, confidence_usd_e8, observe_time,
    first_observe_time, burn_height, synthetic, create_time)
SELECT feed, n, CASE WHEN n % 50 = 0 THEN 'DEGRADED' ELSE 'OK' END, '', 1, 1, to_timestamp(n), to_timestamp(n),
    n / 10, false, now() FROM generate_series(1, {ROUNDS}) n, generate_series(1, 2) feed;
INSERT INTO oracle.observation (feed, round, position, source, price_usd_e8, observe_time, rejection, simulated)
SELECT feed, round, 0, 'x', 1, observe_time, '', true FROM oracle.round;
INSERT INTO oracle.publication (feed, round, state, cause, price_usd_e8, confidence_usd_e8, observe_seconds,
    burn_height, signature, txid, reason, create_time)
SELECT feed, round, CASE round WHEN {ROUNDS} THEN 'PENDING' ELSE 'CONFIRMED' END, 'MOVED', 1, 1, round, burn_height,
    CASE WHEN round < {ROUNDS} THEN sha512(''::bytea) || '\\x00'::bytea END, '', '', now() FROM oracle.round;
INSERT INTO oracle.outbox (kind, key, payload, create_time, due_time, deliver_time, attempts, last_error)
SELECT 'start', n, '{{}}', now(), now(), CASE WHEN n % 100 > 0 THEN now() END, 1, ''
FROM generate_series(1, {ROUNDS}) n"""


@dataclass(frozen=True)
class Full:
    """A full schema."""

    url: str
    database: Database


@pytest.fixture(scope="module")
async def full(module_database_url: str) -> AsyncIterator[Full]:
    """10,000 rounds of each feed, all published."""
    await migrate(module_database_url, "oracle", MIGRATIONS)
    connection = await asyncpg.connect(module_database_url)
    await connection.execute(_FILL)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    database = Database(module_database_url)
    yield Full(module_database_url, database)
    await database.close()


CALLS: Final[list[Callable[[AsyncSession], Awaitable[Any]]]] = [
    lambda s: store.latest_price(s, BTC),
    lambda s: store.latest_ok_price(s, BTC),
    lambda s: store.ok_prices_near(s, BTC, MIDDLE // 10, 6, [1]),
    lambda s: store.prices_between(s, BTC, MIDDLE, MIDDLE + 100),
    lambda s: store.prices_after(s, BTC, MIDDLE, 100),
    lambda s: store.prices_before(s, BTC, 0, MIDDLE, 100),
    lambda s: store.ok_prices_after(s, BTC, MIDDLE, 100),
    lambda s: store.observations_before(s, BTC, 0, (MIDDLE, 0), 100),
    lambda s: store.rounds_of(s, BTC, [MIDDLE, 1]),
    lambda s: store.round_with_observations(s, BTC, MIDDLE),
    lambda s: store_publications.publication(s, BTC, MIDDLE),
    lambda s: store_publications.pending_publication(s, BTC),
    lambda s: store_publications.unsigned_publications(s),
    lambda s: store_publications.publications_near(s, BTC, MIDDLE // 10, 6),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
async def test_the_store_never_reads_a_large_table_from_end_to_end(full: Full, number: int) -> None:
    """Each reading goes by an index, whose next rows are those that are wanted."""
    with noting(full.database) as statements:
        async with full.database.transaction() as session:
            await CALLS[number](session)
    assert statements.issued
    assert await scanned(full.url, statements) == {}


async def test_the_outbox_is_read_by_index(full: Full) -> None:
    """What is due, and how much waits, is found beside all that was delivered."""

    async def deliver(row: OutboxRecord) -> None:
        assert row.kind == "start"

    with noting(full.database) as statements:
        assert await Relay(full.database, Outbox, deliver).deliver_due() > 0
    assert await scanned(full.url, statements) == {}

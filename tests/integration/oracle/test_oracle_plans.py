"""Every statement of the oracle's store goes by an index, on tables large enough that the planner would rather scan."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.outbox import OutboxRecord, Relay
from services.oracle import (
    store,
    store_breaker,
    store_candles,
    store_publications,
    store_receipts,
    store_requests,
    store_retention,
)
from services.oracle.__main__ import MIGRATIONS
from services.oracle.domain.breaker import BreakerState
from services.oracle.domain.candles import Candle, CandleSpan
from services.oracle.domain.history import VolatilityEstimate
from services.oracle.domain.override import Act, PriceOverride
from services.oracle.domain.prices import Feed, JudgedObservation, Observation, Price, PriceStatus, Round, boundary_time
from services.oracle.domain.publication import PublicationCause, PublicationState
from services.oracle.domain.window import Stretch
from services.oracle.tables import ActivationRequestRow, Outbox, PolicyTermsRow, ReceiptRow
from tests.integration.policy.plans import functions_of, noting, scanned, sent

STORES: Final = (
    store,
    store_breaker,
    store_candles,
    store_publications,
    store_receipts,
    store_requests,
    store_retention,
)
# One row for each feed, or for each stream that is followed; and what two people agreed upon.
SMALL: Final = {"breaker", "cursor", "price_override"}
# What may read more than an index finds, and why that is right.
EXCEPTED: Final = {
    "store.first_ok_price_after": "passes over rounds that were made from observations of before, of some seconds",
}

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
FROM generate_series(1, {ROUNDS}) n;
INSERT INTO oracle.candle (feed, span_seconds, start_seconds, open_usd_e8, high_usd_e8, low_usd_e8, close_usd_e8, count,
    first_round, last_round, price_seconds, covered_seconds)
SELECT feed, span, n * span, 1, 1, 1, 1, 1, n * span + 1, n * span + 1, 1, 1
FROM generate_series(1, {ROUNDS}) n, generate_series(1, 2) feed, unnest(ARRAY[60, 300, 3600, 86400]) span;
INSERT INTO oracle.volatility (feed, day, close_to_close_30d, close_to_close_90d, ewma, parkinson_30d, source, as_of)
SELECT feed, current_date - n, 1, 1, 1, 1, '', now() FROM generate_series(1, {ROUNDS}) n, generate_series(1, 2) feed;
INSERT INTO oracle.receipt (purpose, policy_id, activation_number, strike_price_usd_e8, request_market_time,
    in_the_money, btc_price_usd_e8, stx_price_usd_e8, observe_seconds, burn_height, btc_rounds, stx_rounds, signature,
    create_time)
SELECT 'activation/' || n || '/1', n, 1, 1, to_timestamp(n), n % 2 = 0, 1, 1, n, n / 10, ARRAY[n], ARRAY[n],
    sha512(''::bytea) || '\\x00'::bytea, now() FROM generate_series(1, {ROUNDS}) n;
INSERT INTO oracle.policy_terms (policy_id, strike_price_usd_e8, floor_price_usd_e8, protected_amount_sats,
    settlement_token) SELECT n, 2, 1, 1, 1 FROM generate_series(1, {ROUNDS}) n;
INSERT INTO oracle.activation_request (policy_id, activation_number, burn_height, market_time, outcome)
SELECT n, 1, n / 10, to_timestamp(n), CASE WHEN n % 100 > 0 THEN 'SIGNED' ELSE '' END
FROM generate_series(1, {ROUNDS}) n;
INSERT INTO oracle.price_override (id, feed, low_price_usd_e8, high_price_usd_e8, expire_market_time, proposer, reason,
    propose_time, propose_market_time, approver, approve_time, approve_market_time)
SELECT lpad(n::text, 32, '0'), 1 + n % 2, 1, 1, to_timestamp(n), 'a', 'x', now(), now(), 'b', now(), now()
FROM generate_series(1, {ROUNDS}) n"""


@dataclass(frozen=True)
class Full:
    """A full schema."""

    url: str
    database: Database


@pytest.fixture(scope="module")
async def full(module_database_url: str) -> AsyncIterator[Full]:
    """10,000 rounds of each feed, all published, and as many of everything else that grows."""
    await migrate(module_database_url, "oracle", MIGRATIONS)
    connection = await asyncpg.connect(module_database_url)
    await connection.execute(_FILL)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    database = Database(module_database_url)
    yield Full(module_database_url, database)
    await database.close()


PRICE: Final = Price(BTC, ROUNDS + 1, PriceStatus.OK, "", 1, 1, boundary_time(ROUNDS), boundary_time(ROUNDS), 1, True)
ROUND: Final = Round(PRICE, [JudgedObservation(Observation("x", 1, boundary_time(ROUNDS), True), None, 1)])
CANDLE: Final = Candle(BTC, CandleSpan.ONE_MINUTE, 60 * MIDDLE, 1, 1, 1, 1, 1, 60 * MIDDLE + 60, 60 * MIDDLE + 60, 1, 1)
ESTIMATE: Final = VolatilityEstimate(0.5, 0.5, 0.5, 0.5, "", wall_now())
ACT: Final = Act("a", "x", wall_now(), wall_now())
OVERRIDE: Final = PriceOverride(f"{MIDDLE:032}", BTC, 1, 1, wall_now(), ACT)
TERMS: Final = PolicyTermsRow(
    policy_id="x", strike_price_usd_e8=2, floor_price_usd_e8=1, protected_amount_sats=1, settlement_token=1
)
REQUEST: Final = ActivationRequestRow(policy_id="x", activation_number=1, burn_height=1, market_time=wall_now())


def receipt() -> ReceiptRow:
    """One of an expiry."""
    return ReceiptRow(
        purpose="expiry/1",
        btc_price_usd_e8=1,
        stx_price_usd_e8=1,
        observe_seconds=1,
        burn_height=1,
        btc_rounds=[1],
        stx_rounds=[1],
        signature=bytes(65),
    )


async def published(session: AsyncSession) -> None:
    """Another round, decided to be published once the feed's slot is free."""
    pending = await store_publications.publication(session, BTC, ROUNDS)
    assert pending
    pending.state = PublicationState.CONFIRMED.value
    session.add(pending)
    await store.insert_rounds(session, [ROUND])
    await store_publications.insert_publication(session, PRICE, PublicationCause.DEVIATION)


Case = Callable[[AsyncSession], list[Awaitable[Any]]]


def one(make: Callable[[AsyncSession], Awaitable[Any]]) -> Case:
    """A case of a single call."""
    return lambda session: [make(session)]


CASES: Final[dict[str, Case]] = {
    "store.insert_rounds": one(lambda s: store.insert_rounds(s, [ROUND])),
    "store.latest_price": one(lambda s: store.latest_price(s, BTC)),
    "store.latest_ok_price": one(lambda s: store.latest_ok_price(s, BTC)),
    "store.ok_prices_near": one(lambda s: store.ok_prices_near(s, BTC, MIDDLE // 10, 6, [1])),
    "store.prices_between": one(lambda s: store.prices_between(s, BTC, MIDDLE, MIDDLE + 100)),
    "store.prices_after": one(lambda s: store.prices_after(s, BTC, MIDDLE, 100)),
    "store.prices_before": one(lambda s: store.prices_before(s, BTC, 0, MIDDLE, 100)),
    "store.ok_prices_after": one(lambda s: store.ok_prices_after(s, BTC, MIDDLE, 100)),
    "store.observations_before": one(lambda s: store.observations_before(s, BTC, 0, (MIDDLE, 0), 100)),
    "store.rounds_of": one(lambda s: store.rounds_of(s, BTC, [MIDDLE, 1])),
    "store.round_with_observations": one(lambda s: store.round_with_observations(s, BTC, MIDDLE)),
    "store_breaker.breaker_state": one(lambda s: store_breaker.breaker_state(s, BTC)),
    "store_breaker.save_breakers": one(lambda s: store_breaker.save_breakers(s, {BTC: BreakerState()})),
    "store_breaker.believed_ranges": one(lambda s: store_breaker.believed_ranges(s, boundary_time(ROUNDS - 10))),
    "store_breaker.insert_override": one(lambda s: store_breaker.insert_override(s, replace(OVERRIDE, id="x"))),
    "store_breaker.save_override": one(lambda s: store_breaker.save_override(s, OVERRIDE)),
    "store_breaker.locked_override": one(lambda s: store_breaker.locked_override(s, OVERRIDE.id)),
    "store_breaker.override": one(lambda s: store_breaker.override(s, OVERRIDE.id)),
    "store_breaker.overrides_before": lambda s: [
        store_breaker.overrides_before(s, feed, before, 51) for feed in (None, BTC) for before in (None, OVERRIDE.id)
    ],
    "store_candles.fold": one(lambda s: store_candles.fold(s, [CANDLE])),
    "store_candles.last_folded": one(lambda s: store_candles.last_folded(s, BTC)),
    "store_candles.candles_before": one(
        lambda s: store_candles.candles_before(s, BTC, CandleSpan.ONE_HOUR, 0, 3_600 * MIDDLE, 100)
    ),
    "store_candles.keep_estimate": one(lambda s: store_candles.keep_estimate(s, BTC, wall_now().date(), ESTIMATE)),
    "store_candles.kept_estimate": one(lambda s: store_candles.kept_estimate(s, BTC, wall_now().date())),
    "store_candles.weight_of": one(
        lambda s: store_candles.weight_of(s, BTC, Stretch(60 * MIDDLE, 60 * MIDDLE + 3_600, CandleSpan.ONE_MINUTE))
    ),
    "store_publications.lock_feed": one(lambda s: store_publications.lock_feed(s, BTC)),
    "store_publications.insert_publication": one(published),
    "store_publications.publication": one(lambda s: store_publications.publication(s, BTC, MIDDLE)),
    "store_publications.pending_publication": one(lambda s: store_publications.pending_publication(s, BTC)),
    "store_publications.unsigned_publications": one(lambda s: store_publications.unsigned_publications(s)),
    "store_publications.last_confirmed": one(lambda s: store_publications.last_confirmed(s, BTC)),
    "store_publications.publications_near": one(lambda s: store_publications.publications_near(s, BTC, 500, 6)),
    "store_receipts.lock_receipts": one(lambda s: store_receipts.lock_receipts(s, "x")),
    "store_receipts.receipt": one(lambda s: store_receipts.receipt(s, f"activation/{MIDDLE}/1")),
    "store_receipts.receipt_in_the_money": one(lambda s: store_receipts.receipt_in_the_money(s, f"{MIDDLE}")),
    "store_receipts.deciding_receipts": one(lambda s: store_receipts.deciding_receipts(s, MIDDLE, 100)),
    "store_receipts.insert_receipt": one(lambda s: store_receipts.insert_receipt(s, receipt())),
    "store_requests.cursor": one(lambda s: store_requests.cursor(s, lock=True)),
    "store_requests.save_cursor": one(lambda s: store_requests.save_cursor(s, "1")),
    "store_requests.add_terms": one(lambda s: store_requests.add_terms(s, TERMS)),
    "store_requests.terms": one(lambda s: store_requests.terms(s, f"{MIDDLE}")),
    "store_requests.add_request": one(lambda s: store_requests.add_request(s, REQUEST)),
    "store_requests.open_requests": one(lambda s: store_requests.open_requests(s, 10)),
    "store_requests.close_request": one(lambda s: store_requests.close_request(s, f"{ROUNDS}", 1, "SIGNED")),
    "store_retention.passed": one(lambda s: store_retention.passed(s, BTC)),
    "store_retention.next_step": one(lambda s: store_retention.next_step(s, BTC, MIDDLE, ROUNDS, 1_000)),
    "store_retention.remove_observations": one(
        lambda s: store_retention.remove_observations(s, BTC, MIDDLE, MIDDLE + 1_000)
    ),
}


@pytest.mark.parametrize("name", [name for name in functions_of(STORES) if name not in EXCEPTED])
async def test_the_store_never_reads_a_large_table_from_end_to_end(full: Full, name: str) -> None:
    """Of each function of the store, and of each list that it can be asked for, every plan goes by an index."""
    statements = await sent(full.database, CASES[name])
    assert statements.issued, f"{name} issued nothing"
    found = await scanned(full.url, statements)
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


def test_no_store_is_forgotten() -> None:
    """Every module of SQL is looked at."""
    found = {path.stem for path in Path(inspect.getfile(store)).parent.glob("store*.py")}
    assert found == {module.__name__.rpartition(".")[2] for module in STORES}


async def test_the_outbox_is_read_by_index(full: Full) -> None:
    """What is due, and how much waits, is found beside all that was delivered."""

    async def deliver(row: OutboxRecord) -> None:
        assert row.kind == "start"

    with noting(full.database) as statements:
        assert await Relay(full.database, Outbox, deliver).deliver_due() > 0
    assert await scanned(full.url, statements) == {}

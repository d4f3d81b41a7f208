"""`python -m tests.bench.year_of_prices`: a year of prices a second apart beside a day of them, in the same tables.

31.6 million rounds of BTC/USD and their candles are made in SQL, then the service's own queries are timed on both, and
the plan of each is looked at: it must use an index and read no more than it answers. Takes some ten minutes and 8 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import event

from kernel.database import Database, migrate
from services.oracle import store, store_candles
from services.oracle.__main__ import MIGRATIONS
from services.oracle.domain.candles import CandleSpan
from services.oracle.domain.prices import Feed
from services.oracle.domain.window import Weight, stretches, weight_of_rounds
from tests.postgres import create_database, running_postgres

_END: Final = 1_609_459_200
_DAY: Final = 86_400
_CHUNK: Final = 10 * _DAY
_REPEATS: Final = 25
_FEED: Final = Feed.BTC_USD

_ROUNDS: Final = """
INSERT INTO oracle.round (feed, round, status, reason, price_usd_e8, confidence_usd_e8, observe_time,
    first_observe_time, burn_height, synthetic, create_time)
SELECT 1, n, 'OK', '', 1000000000000 + (n * 7919) % 100000000000, 100000000, to_timestamp(n), to_timestamp(n - 1),
    n / 600, true, now()
FROM generate_series($1::bigint, $2::bigint) AS n
"""
_CANDLES: Final = """
INSERT INTO oracle.candle
SELECT 1, {span}, (n - 1) / {span} * {span}, min(price) FILTER (WHERE n % {span} = 1), max(price), min(price),
    min(price) FILTER (WHERE n % {span} = 0), count(*), min(n), max(n), sum(price), count(*)
FROM (SELECT round AS n, price_usd_e8 AS price FROM oracle.round WHERE feed = 1) AS one
GROUP BY 3
"""
Query = Callable[[Any], Awaitable[Any]]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def load(url: str, days: int) -> None:
    """Fills a migrated database with so many days before _END."""
    connection = await asyncpg.connect(url)
    try:
        began = time.perf_counter()
        first = _END - days * _DAY + 1
        for start in range(first, _END + 1, _CHUNK):
            await connection.execute(_ROUNDS, start, min(start + _CHUNK - 1, _END))
            _say(f"{days} days: loaded up to day {(min(start + _CHUNK - 1, _END) - first + 1) // _DAY}")
        for span in CandleSpan:
            await connection.execute(_CANDLES.format(span=int(span)))
        await connection.execute("VACUUM ANALYZE oracle.round")
        await connection.execute("VACUUM ANALYZE oracle.candle")
        size = (
            "SELECT pg_total_relation_size('oracle.round') / 1000000, pg_total_relation_size('oracle.candle') / 1000000"
        )
        (megabytes,) = await connection.fetch(size)
        _say(f"{days} days: rounds {megabytes[0]} MB, candles {megabytes[1]} MB, {time.perf_counter() - began:.0f} s")
    finally:
        await connection.close()


async def _twap(session: Any, start: int, end: int) -> Weight:
    """As `PriceHistory.twap` does."""
    total = Weight()
    for stretch in stretches(start, end, 1):
        if stretch.span is not None:
            total += await store_candles.weight_of(session, _FEED, stretch)
        else:
            prices = await store.prices_between(session, _FEED, stretch.start, stretch.end)
            total += weight_of_rounds(prices, stretch.start, stretch.end, 1)
    return total


def queries(days: int) -> dict[str, Query]:
    """What is asked of both; those about long windows reach as far back as there is history."""
    middle, oldest = _END - days * _DAY // 2, _END - days * _DAY
    span = {"hours": CandleSpan.ONE_HOUR, "minutes": CandleSpan.ONE_MINUTE}
    return {
        "latest": lambda one: store.latest_price(one, _FEED),
        "page of 100 rounds from the middle": lambda one: store.prices_before(one, _FEED, 0, middle, 100),
        "1,800 rounds of an expiry": lambda one: store.prices_between(one, _FEED, middle - 1_800, middle),
        "first OK round after a request": lambda one: store.ok_prices_after(one, _FEED, middle, 1),
        "average of 30 odd minutes": lambda one: _twap(one, middle - 1_817, middle - 13),
        "average of all but a minute": lambda one: _twap(one, oldest + 29, _END - 31),
        "page of 100 hour candles": lambda one: store_candles.candles_before(one, _FEED, span["hours"], 0, _END, 100),
        "page of 1,000 minute candles": lambda one: store_candles.candles_before(
            one, _FEED, span["minutes"], 0, middle, 1_000
        ),
    }


async def measure(url: str, days: int) -> dict[str, tuple[float, Sequence[str]]]:
    """Median milliseconds of each query, and the plans of its statements."""
    database = Database(url)
    seen: list[tuple[str, Any]] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *call: seen.append((call[2], call[3])))
    found = {}
    try:
        for name, query in queries(days).items():
            took = []
            for _ in range(_REPEATS + 2):
                seen.clear()
                async with database.reading() as session:
                    began = time.perf_counter()
                    await query(session)
                    took.append((time.perf_counter() - began) * 1000)
            found[name] = (statistics.median(took[2:]), await _plans(url, list(seen)))
    finally:
        await database.close()
    return found


async def _plans(url: str, statements: Sequence[tuple[str, Any]]) -> Sequence[str]:
    connection = await asyncpg.connect(url)
    try:
        return [
            line.strip().partition("  (")[0]
            for statement, parameters in statements
            for (line,) in await connection.fetch(f"EXPLAIN {statement}", *parameters)
            if "Scan" in line
        ]
    finally:
        await connection.close()


async def _run(days: int) -> int:
    with running_postgres() as server:
        results = []
        for length in (1, days):
            url = await create_database(server)
            await migrate(url, "oracle", MIGRATIONS)
            await load(url, length)
            results.append(await measure(url, length))
    day, year = results
    print(f"| query | a day, ms | {days} days, ms | plan |\n|---|---|---|---|")
    for name, (milliseconds, plans) in year.items():
        print(f"| {name} | {day[name][0]:.1f} | {milliseconds:.1f} | {', '.join(sorted(set(plans)))} |")
    without = [name for name, (_, plans) in year.items() if not plans or any("Seq Scan" in plan for plan in plans)]
    if without:
        print(f"no index is used by: {', '.join(without)}", file=sys.stderr)
    return 1 if without else 0


def main() -> int:
    """0 when every query uses an index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=366)
    return asyncio.run(_run(parser.parse_args().days))


if __name__ == "__main__":
    sys.exit(main())

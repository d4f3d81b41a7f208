"""Ledger entries posted per second, beside raw inserts of the same rows.

The pool's projector takes in answers of 200 events each that end a policy, a tenth with a payout: each event an entry
with its postings, its policy ended, balances kept, the cursor moved, a transaction per answer. The yardstick inserts
the same entries and postings with raw asyncpg, a statement of many rows for each table and a transaction per 200
entries, into tables with the same indexes and none of the checks.
"""

from __future__ import annotations

import statistics
import time
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.rpc.channels import open_channel
from kernel.units import Tier, Token
from services.pool import store_journal
from services.pool.__main__ import MIGRATIONS
from services.pool.domain import ledger
from services.pool.projector import Projector
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.postgres import create_database

_ANSWER: Final = 200
_ANSWERS: Final = 10
_TURNS: Final = 5
_COLLATERAL: Final = 1_000_000
_TABLES: Final = ("journal_entry", "posting")


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    async with AsyncExitStack() as stack:
        url = await create_database(stack.enter_context(bench.postgres()))
        await migrate(url, "pool", MIGRATIONS)
        database = Database(url)
        stack.push_async_callback(database.close)
        channel = open_channel("127.0.0.1:1")
        stack.push_async_callback(channel.close)
        books = _Books(Projector(database, channel))
        await books.take_in([books.deposited()])
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await books.per_second()
        inserts = await _RawInserts.of_entries(connection)
        samples = await bench.in_turns(books.per_second, inserts.per_second, _TURNS)
        alone = statistics.median([await _posted_alone(database) for _ in range(_TURNS)])
        notes = {"entries": _ANSWER * _ANSWERS, "posted_alone_per_second": round(alone)}
        return of_samples(*samples, "entries/s", at_least(0.4), notes)


async def _posted_alone(database: Database) -> float:
    """Entries of the same kinds per second, given to the ledger in a transaction per 200."""
    now = wall_now()
    causes = [ledger.Cause(f"{new_id()}{new_id()}/1", 1, now, subject=new_id()) for _ in range(_ANSWER * _ANSWERS)]
    what = Tier.BALANCED, Token.SBTC
    entries = [
        store_journal.NewEntry(
            ledger.policy_expired(cause, *what, _COLLATERAL)
            if number % 10
            else ledger.policy_settled(cause, *what, _COLLATERAL // 2, _COLLATERAL)
        )
        for number, cause in enumerate(causes)
    ]
    start = time.perf_counter()
    for number in range(0, len(entries), _ANSWER):
        async with database.transaction() as session:
            await store_journal.post_entries(session, entries[number : number + _ANSWER])
    return len(entries) / (time.perf_counter() - start)


class _Books:
    """A projector and the answers that it is given."""

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self._cursor = 0
        self._policies = 0

    async def take_in(self, events: list[event_pb2.ChainEvent]) -> None:
        """One answer."""
        before, self._cursor = self._cursor, self._cursor + 1
        answer = gateway_pb2.WatchEventsResponse(
            events=events, cursor=str(self._cursor), delivered_burn_height=self._cursor
        )
        assert await self._projector.apply(str(before) if before else "", answer)

    async def per_second(self) -> float:
        """Entries per second of policies that end; their creations are taken in before."""
        answers = []
        for _ in range(_ANSWERS):
            created = [self._created() for _ in range(_ANSWER)]
            await self.take_in(created)
            answers.append([self._ended(number, event) for number, event in enumerate(created)])
        start = time.perf_counter()
        for events in answers:
            await self.take_in(events)
        return _ANSWER * _ANSWERS / (time.perf_counter() - start)

    def deposited(self) -> event_pb2.ChainEvent:
        """Capital for all."""
        amount = money_pb2.TokenAmount(token=money_pb2.TOKEN_SBTC, base_units=10**15)
        return self._event(
            deposited=event_pb2.Deposited(provider_principal="SP-BENCH", amount=amount, tier=money_pb2.TIER_BALANCED)
        )

    def _created(self) -> event_pb2.ChainEvent:
        self._policies += 1
        terms = transaction_pb2.QuoteTerms(
            policy=f"policies/{new_id()}",
            holder_principal="SP-HOLDER",
            tier=money_pb2.TIER_BALANCED,
            token=money_pb2.TOKEN_SBTC,
            protected_amount_sats=4 * _COLLATERAL,
            strike_price_usd_e8=100_000 * 10**8,
            floor_price_usd_e8=80_000 * 10**8,
            premium_base_units=1_000,
            fee_base_units=10,
            expiration_burn_height=10**6,
        )
        created = event_pb2.PolicyCreated(
            onchain_id=self._policies, terms=terms, max_payout_base_units=_COLLATERAL, created_burn_height=1
        )
        return self._event(policy_created=created)

    def _ended(self, number: int, created: event_pb2.ChainEvent) -> event_pb2.ChainEvent:
        policy = created.policy_created.terms.policy
        if number % 10:
            expired = event_pb2.PolicyExpired(
                policy=policy, token=money_pb2.TOKEN_SBTC, max_payout_base_units=_COLLATERAL
            )
            return self._event(policy_expired=expired)
        payout = money_pb2.TokenAmount(token=money_pb2.TOKEN_SBTC, base_units=_COLLATERAL // 2)
        return self._event(
            policy_settled=event_pb2.PolicySettled(policy=policy, payout=payout, max_payout_base_units=_COLLATERAL)
        )

    def _event(self, **payload: Any) -> event_pb2.ChainEvent:
        event = event_pb2.ChainEvent(burn_height=self._cursor + 1, txid=new_id() * 2, event_index=1, **payload)
        event.block_time.FromSeconds(1_700_000_000)
        return event


class _RawInserts:
    """The entries of one of our turns, by statements of many rows."""

    def __init__(self, connection: Any, statements: list[list[tuple[str, list[Any]]]]) -> None:
        self._connection = connection
        self._statements = statements

    @classmethod
    async def of_entries(cls, connection: Any) -> _RawInserts:
        """Into tables like ours, with their indexes; the rows are ours."""
        statements: list[list[tuple[str, list[Any]]]] = [[] for _ in range(_ANSWERS)]
        where = "(SELECT id FROM pool.journal_entry WHERE kind IN ('POLICY_EXPIRED', 'POLICY_SETTLED'))"
        for table, key in zip(_TABLES, ("id", "entry_id"), strict=True):
            await connection.execute(f"CREATE TABLE {table}_copy (LIKE pool.{table} INCLUDING ALL)")
            rows = await connection.fetch(f"SELECT * FROM pool.{table} WHERE {key} IN {where} ORDER BY id")
            size = -(-len(rows) // _ANSWERS)
            for number in range(_ANSWERS):
                part = rows[number * size : (number + 1) * size]
                statements[number].append(_insert(f"{table}_copy", part))
        return cls(connection, statements)

    async def per_second(self) -> float:
        """Entries per second into the emptied tables."""
        await self._connection.execute("TRUNCATE " + ", ".join(f"{table}_copy" for table in _TABLES))
        start = time.perf_counter()
        for inserts in self._statements:
            async with self._connection.transaction():
                for statement, values in inserts:
                    await self._connection.execute(statement, *values)
        return _ANSWER * _ANSWERS / (time.perf_counter() - start)


def _insert(table: str, rows: Any) -> tuple[str, list[Any]]:
    names = list(rows[0].keys())
    places = ", ".join(
        "(" + ", ".join(f"${row * len(names) + column + 1}" for column in range(len(names))) + ")"
        for row in range(len(rows))
    )
    columns, values = ", ".join(names), [value for row in rows for value in row.values()]
    return f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES {places}", values

"""Events taken into the pool's books per second, beside raw inserts of their entries alone.

The pool's projector, behind the chain, takes in answers of 200 events each that end a policy, a tenth with a payout:
each event read from its message, an entry with its postings, its policy found, locked and ended, balances kept, the
cursor moved, as many answers in a transaction as it takes together where more follow at once. The yardstick is that of
`ledger_entries`, which does the least part of it, in transactions of 200.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.rpc.channels import open_channel
from services.pool.__main__ import MIGRATIONS
from services.pool.projector import Projector
from tests.bench.raw_entries import ENTRIES, STATEMENTS, RawInserts
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.postgres import create_database

_TURNS: Final = 5
# What the projector is behind by in a turn: ten times as many events as the yardstick posts in one.
_ANSWERS: Final = 10 * STATEMENTS
_COLLATERAL: Final = 1_000_000


async def measure(bench: Workbench) -> Row:
    """Ours and raw inserts in turns."""
    async with AsyncExitStack() as stack:
        url = await create_database(stack.enter_context(bench.postgres()))
        await migrate(url, "pool", MIGRATIONS)
        database = Database(url)
        stack.push_async_callback(database.close)
        channel = open_channel("127.0.0.1:1")
        stack.push_async_callback(channel.close)
        books = _Books(database, Projector(database, channel))
        await books.take_in([[books.deposited()]])
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await books.per_second(STATEMENTS)
        inserts = await RawInserts.of_posted(connection)
        samples = await bench.in_turns(lambda: books.per_second(_ANSWERS), inserts.per_second, _TURNS)
        return of_samples(*samples, "events/s", at_least(0.4), {"events": ENTRIES * _ANSWERS})


async def _each(answers: list[gateway_pb2.WatchEventsResponse]) -> AsyncIterator[gateway_pb2.WatchEventsResponse]:
    for answer in answers:
        yield answer


class _Books:
    """A projector and the answers that it is given."""

    def __init__(self, database: Database, projector: Projector) -> None:
        self._database = database
        self._projector = projector
        self._cursor = 0
        self._policies = 0

    async def take_in(self, pages: list[list[event_pb2.ChainEvent]]) -> None:
        """Answers as the gateway gives them to whoever is behind: of all but the last, more follow at once."""
        before, self._cursor = self._cursor, self._cursor + len(pages)
        answers = [
            gateway_pb2.WatchEventsResponse(events=events, cursor=str(number), delivered_burn_height=0)
            for number, events in enumerate(pages, before + 1)
        ]
        answers[-1].delivered_burn_height = self._cursor
        await self._projector.take_in(str(before) if before else "", _each(answers))

    async def per_second(self, answers: int) -> float:
        """Events per second of policies that end; their creations are taken in before."""
        created = [[self._created() for _ in range(ENTRIES)] for _ in range(answers)]
        await self.take_in(created)
        ended = [[self._ended(number, event) for number, event in enumerate(page)] for page in created]
        start = time.perf_counter()
        await self.take_in(ended)
        seconds = time.perf_counter() - start
        assert await self._database.value("SELECT cursor FROM pool.cursor") == str(self._cursor)
        assert not await self._database.value("SELECT count(*) FROM pool.coverage WHERE status = 'ACTIVE'")
        return ENTRIES * answers / seconds

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

"""Pool and oracle together: an expiration counts the same before its receipt as after it, wherever the market goes."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.database import Database, migrate
from kernel.ids import new_id
from kernel.rpc.channels import open_channel
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token, max_payout, payout
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed
from services.pool import store, tables
from services.pool.__main__ import MIGRATIONS, build_parts
from services.pool.parts import Parts
from services.pool.projector import Projector
from services.pool.withdrawals import Request
from tests.integration.oracle.harness import START, USD, WORKFLOWS, Oracle, ScriptedPrices, StaticTokens, oracle_at
from tests.integration.pool.pool_service import LIMITS, amount_of, eventually

INVESTED = 10 * 10**8
STRIKE, FLOOR, AMOUNT = 8_000 * USD, 6_000 * USD, 10**8


@dataclass
class Days(ScriptedPrices):
    """Prices of a script, with thirty days before them that have a volatility."""

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """Up and down by two percent."""
        closes = [price * USD for price in (8_000, 8_160)] * 15
        return [
            DailyBar(START.date() - dt.timedelta(days=30 - number), close, close + USD, close - USD, close)
            for number, close in enumerate(closes)
        ]


@dataclass
class Both:
    """A pool whose prices are those of a running oracle, and whose chain is that oracle's."""

    oracle: Oracle
    parts: Parts
    tip: TipFollower
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def print(self, **payload: object) -> str:
        """An event becomes final, and the pool knows; its transaction."""
        gateway = self.oracle.gateway
        event = event_pb2.ChainEvent(
            txid=f"{next(self.numbers):064x}",
            event_index=1,
            **payload,  # type: ignore[arg-type]
        )
        await gateway.emit(event)

        async def projected() -> bool:
            async with self.parts.database.reading() as session:
                return (await store.read_cursor(session)).cursor == str(event.sequence)

        await eventually(projected)
        return event.txid

    async def join(self, who: str) -> int:
        """The shares of a deposit, priced at the next round."""
        deposited = event_pb2.Deposited(
            provider_principal=who,
            amount=amount_of(Token.SBTC, INVESTED),
            tier=money_pb2.Tier.ValueType(int(Tier.BALANCED)),
        )
        txid = await self.print(deposited=deposited)
        await self.advance(120)
        return (await self.parts.deposits.price_deposit(f"{txid}-1")).shares

    async def leave(self, who: str, shares: int) -> int:
        """What is paid for shares at the next round."""
        async with self.parts.database.transaction() as session:
            row = await self.parts.withdrawals.request(session, Request(who, Tier.BALANCED, Token.SBTC, shares, b""))
        await self.advance(120)
        priced: tables.Withdrawal = await self.parts.withdrawals.price(row.id)
        return priced.amount

    async def advance(self, seconds: int) -> None:
        """Market time passes for both."""
        await self.oracle.advance(seconds)
        while self.tip.tip.market_time.ToDatetime(dt.UTC) < self.oracle.gateway.market_time:
            await self.tip.changed(1)

    async def cover(self, expiration_burn_height: int) -> None:
        """A policy is created."""
        terms = transaction_pb2.QuoteTerms(
            policy=f"policies/{new_id()}",
            tier=money_pb2.Tier.ValueType(int(Tier.BALANCED)),
            token=money_pb2.Token.ValueType(int(Token.SBTC)),
            protected_amount_sats=AMOUNT,
            strike_price_usd_e8=STRIKE,
            floor_price_usd_e8=FLOOR,
            expiration_burn_height=expiration_burn_height,
            auto_settle=True,
        )
        created = event_pb2.PolicyCreated(
            onchain_id=1,
            terms=terms,
            max_payout_base_units=max_payout(Token.SBTC, AMOUNT, STRIKE, FLOOR, 0, 0),
            created_burn_height=self.oracle.gateway.burn_height,
        )
        await self.print(policy_created=created)


@asynccontextmanager
async def _both(database_url: str, source: ScriptedPrices) -> AsyncIterator[Both]:
    async with oracle_at(database_url, source) as oracle:
        await migrate(database_url, "pool", Path(MIGRATIONS))
        database, channel = Database(database_url), open_channel(oracle.address, StaticTokens())
        tip, projector = TipFollower(oracle.gateway_channel), Projector(database, oracle.gateway_channel)
        tasks = [asyncio.ensure_future(tip.follow()), asyncio.ensure_future(projector.run())]
        try:
            await tip.changed(60)
            yield Both(oracle, build_parts(database, oracle.gateway_channel, channel, tip, LIMITS), tip)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await channel.close()
            await database.close()


@pytest.mark.parametrize(("decides", "market"), [(7_900, 8_100), (8_100, 7_900)])
async def test_an_expiration_counts_the_same_before_and_after_its_receipt(
    database_url: str, decides: int, market: int
) -> None:
    """The market leaves the average that decides, in either direction: who joins or leaves before the receipt is made
    is priced by what it then says, and nothing changes for who joins after it."""
    source = Days()
    async with _both(database_url, source) as both:
        await both.join("SP-ALICE")
        await both.join("SP-BOB")
        source.prices[Feed.BTC_USD] = decides * USD
        height = both.oracle.gateway.burn_height + 5
        await both.cover(height)
        due = both.oracle.gateway.time_of(height) - both.oracle.gateway.market_time
        await both.advance(int(due.total_seconds()))
        source.prices[Feed.BTC_USD] = market * USD
        paid = await both.leave("SP-ALICE", INVESTED // 2)
        joined = await both.join("SP-CAROL")
        assert await both.oracle.rows("SELECT purpose FROM oracle.receipt") == []
        request = oracle_pb2.CreateExpiryReceiptRequest(expiration_burn_height=height)
        receipt = (await both.oracle.stub.CreateExpiryReceipt(request, metadata=WORKFLOWS)).receipt
        after = await both.join("SP-DAVE")
    loss = payout(Token.SBTC, AMOUNT, STRIKE, FLOOR, receipt.btc_price_usd_e8, 0, 2**60)
    assert (loss > 0) == (decides < STRIKE // USD)
    fair = INVESTED // 2 * (2 * INVESTED - loss) // (2 * INVESTED)
    assert paid <= fair
    assert paid >= fair - 1 or market < STRIKE // USD
    left, shares = 2 * INVESTED - paid - loss, 2 * INVESTED - INVESTED // 2
    assert abs(joined - INVESTED * (shares + 1_000) // (left + 1_000)) <= 1
    assert abs(after - joined) <= 1

"""Pool and oracle together: whoever joins or leaves is priced by the round after the cause, and an expiration counts
the same before its receipt as after it, wherever the market goes."""

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

    percent: int = 2

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """Up and down by some percent."""
        closes = [price * USD for price in (8_000, 8_000 + 80 * self.percent)] * 15
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

    async def deposit(self, who: str, tier: Tier) -> str:
        """A final deposit, which waits for its price; its id."""
        amount = amount_of(Token.SBTC, INVESTED)
        number = money_pb2.Tier.ValueType(int(tier))
        txid = await self.print(deposited=event_pb2.Deposited(provider_principal=who, amount=amount, tier=number))
        return f"{txid}-1"

    async def join(self, who: str, tier: Tier = Tier.BALANCED) -> int:
        """The shares of a deposit, priced at the next round."""
        deposit = await self.deposit(who, tier)
        await self.advance(120)
        return (await self.parts.deposits.price_deposit(deposit)).shares

    async def ask(self, who: str, tier: Tier, shares: int) -> str:
        """A withdrawal that waits for its price; its id."""
        async with self.parts.database.transaction() as session:
            wanted = Request(who, tier, Token.SBTC, shares, b"")
            return (await self.parts.withdrawals.request(session, wanted)).id

    async def leave(self, who: str, shares: int) -> int:
        """What is paid for shares at the next round."""
        withdrawal = await self.ask(who, Tier.BALANCED, shares)
        await self.advance(120)
        priced: tables.Withdrawal = await self.parts.withdrawals.price(withdrawal)
        return priced.amount

    async def advance(self, seconds: int) -> None:
        """Market time passes for both."""
        await self.oracle.advance(seconds)
        while self.tip.tip.market_time.ToDatetime(dt.UTC) < self.oracle.gateway.market_time:
            await self.tip.changed(1)

    async def cover(self, expiration_burn_height: int, tier: Tier = Tier.BALANCED) -> None:
        """A policy is created."""
        terms = transaction_pb2.QuoteTerms(
            policy=f"policies/{new_id()}",
            tier=money_pb2.Tier.ValueType(int(tier)),
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
    is priced by what it then says, as was said before, and nothing changes for who joins after it."""
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
        asked = oracle_pb2.PreviewExpiryReceiptsRequest(expiration_burn_heights=[height])
        (preview,) = (await both.oracle.stub.PreviewExpiryReceipts(asked, metadata=WORKFLOWS)).previews
        request = oracle_pb2.CreateExpiryReceiptRequest(expiration_burn_height=height)
        receipt = (await both.oracle.stub.CreateExpiryReceipt(request, metadata=WORKFLOWS)).receipt
        after = await both.join("SP-DAVE")
    assert preview.btc_price_usd_e8 == receipt.btc_price_usd_e8
    loss = payout(Token.SBTC, AMOUNT, STRIKE, FLOOR, receipt.btc_price_usd_e8, 0, 2**60)
    assert (loss > 0) == (decides < STRIKE // USD)
    fair = INVESTED // 2 * (2 * INVESTED - loss) // (2 * INVESTED)
    assert paid <= fair
    assert paid >= fair - 1 or market < STRIKE // USD
    left, shares = 2 * INVESTED - paid - loss, 2 * INVESTED - INVESTED // 2
    assert abs(joined - INVESTED * (shares + 1_000) // (left + 1_000)) <= 1
    assert abs(after - joined) <= 1


async def test_whoever_asks_late_is_priced_by_the_round_after_the_cause(database_url: str) -> None:
    """Two tiers alike, a withdrawal and a deposit in each: those of one are priced as soon as there is a good round,
    those of the other a day later, after many rounds at other prices and with another volatility. All is the same."""
    source, quick, slow = Days(), Tier.BALANCED, Tier.AGGRESSIVE
    async with _both(database_url, source) as both:
        for tier in (quick, slow):
            await both.join(f"SP-{tier.name}", tier)
            await both.cover(both.oracle.gateway.burn_height + 2_000, tier)
        await both.advance(60)
        leaving = [await both.ask(f"SP-{tier.name}", tier, INVESTED // 2) for tier in (quick, slow)]
        joining = [await both.deposit("SP-BOB", tier) for tier in (quick, slow)]
        source.sources[Feed.BTC_USD], source.prices[Feed.BTC_USD] = 1, 7_000 * USD
        await both.advance(120)
        source.sources[Feed.BTC_USD], source.prices[Feed.BTC_USD] = 5, 7_900 * USD
        await both.advance(60)
        decides = await both.oracle.price()
        at_once = await both.parts.withdrawals.price(leaving[0]), await both.parts.deposits.price_deposit(joining[0])
        for price in (8_100, 7_700, 8_300):
            source.prices[Feed.BTC_USD] = price * USD
            await both.advance(60)
        source.percent = 5
        await both.advance(86_400)
        late = await both.parts.withdrawals.price(leaving[1]), await both.parts.deposits.price_deposit(joining[1])
        now = await both.deposit("SP-CAROL", slow)
        await both.advance(120)
        today = await both.parts.deposits.price_deposit(now)
    assert (at_once[0].amount, at_once[1].shares) == (late[0].amount, late[1].shares)
    assert {_price_of(row) for row in (*at_once, *late)} == {_price_of(at_once[0])}
    assert (at_once[0].btc_round, at_once[0].btc_price_e8) == (decides.round, 7_900 * USD)
    assert today.volatility_ewma != late[1].volatility_ewma
    assert today.shares != late[1].shares


def _price_of(row: tables.Deposit | tables.Withdrawal) -> tuple[float | None, ...]:
    """What a row was priced with."""
    volatilities = row.volatility_ewma, row.volatility_30d, row.volatility_90d, row.volatility_parkinson
    return row.btc_round, row.btc_price_e8, row.price_burn_height, *volatilities

"""Deposits join at the first good price after they are final; and what deposits and withdrawals share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import NotFound, Unavailable
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token
from services.pool import store, store_journal, store_positions, tables
from services.pool.consolidation import consolidate
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
from services.pool.market import NO_PRICE_YET, ObservedPrices
from services.pool.valuation import Valuation, valued_at

SHARES_ISSUED: Final = "shares issued"


class Deposits:
    """Prices what providers bring."""

    def __init__(self, database: Database, valuation: Valuation, tip: TipFollower) -> None:
        self._database = database
        self._valuation = valuation
        self._tip = tip

    async def price_deposit(self, deposit_id: str) -> tables.Deposit:
        """Gives a final deposit its shares; the same answer ever after.

        By the first good prices observed after it became final, whenever that is asked. Unavailable before them, and
        while by them it gets none (a DepositWait): then it waits for later ones, and once some would do it takes the
        first after that, which nobody knows yet.
        """
        async with self._database.transaction() as session:
            found = await existing_deposit(session, deposit_id)
        if found.state != store_positions.FINAL:
            return found
        turn = found.final_market_time
        observed = await self._valuation.observe(Token(found.token), turn)
        await value_unlocked(
            self._database, self._valuation.joining, Tier(found.tier), Token(found.token), observed.prices
        )
        async with self._database.transaction() as session:
            await store.lock_tiers(session, Tier(found.tier), Token(found.token))
            found = await existing_deposit(session, deposit_id, lock=True)
            if found.state != store_positions.FINAL:
                return found
            if found.final_market_time != turn:
                raise Unavailable(NO_PRICE_YET, "its turn has begun anew meanwhile")
            await self._issue_or_wait(session, found, observed)
        if found.wait_reason:
            raise Unavailable(found.wait_reason, "by the prices of now it gets no shares")
        if found.state == store_positions.FINAL:
            raise Unavailable(NO_PRICE_YET, "it had to wait, and takes the first price from now on")
        return found

    async def _issue_or_wait(self, session: AsyncSession, deposit: tables.Deposit, observed: ObservedPrices) -> None:
        books = await store.tier_books(session, Tier(deposit.tier), Token(deposit.token))
        assets = await self._valuation.joining(session, books, observed.prices)
        if books.locked == 0 and shares.is_worthless(books.shares, assets):
            books = await consolidate(session, books, await self._cause(session, deposit, "consolidate"))
        waited, deposit.wait_reason = deposit.wait_reason, str(shares.why_waits(deposit.amount, books.shares, assets))
        session.add(deposit)
        if waited or deposit.wait_reason:
            # Nobody is given what a price that is known would buy now: who waited could go away instead.
            deposit.final_market_time = max(market_time(self._tip), observed.observe_time)
            return
        issued = shares.shares_for(deposit.amount, books.shares, assets)
        deposit.state, deposit.shares = store_positions.PRICED, issued
        await keep_prices(session, deposit, observed.prices)
        entry = ledger.shares_issued(
            await self._cause(session, deposit, "price"), books.tier, books.token, deposit.amount
        )
        line = store_journal.Line(deposit.provider, SHARES_ISSUED, books.tier, books.token, deposit.amount, issued)
        await store_journal.post_entry(session, entry, [line])

    async def _cause(self, session: AsyncSession, deposit: tables.Deposit, step: str) -> ledger.Cause:
        return await step_cause(session, self._tip, f"deposits/{deposit.id}/{step}")


def market_time(tip: TipFollower) -> dt.datetime:
    """Now; Unavailable while it is not heard of: by an old one, prices that are known would be later."""
    if tip.lost_seconds:
        raise Unavailable("MARKET_TIME_LOST", "no news of market time from the gateway")
    return tip.now()


async def value_unlocked(
    database: Database,
    value: Callable[[AsyncSession, TierBooks, Prices | None], Awaitable[int]],
    tier: Tier,
    token: Token,
    prices: Prices,
) -> None:
    """Values many open policies before the tier is locked; remembered, it is only looked up under the lock."""
    async with database.transaction() as session:
        await value(session, await store.tier_books(session, tier, token), prices)


async def step_cause(session: AsyncSession, tip: TipFollower, key: str) -> ledger.Cause:
    """The cause of what the step `{resource name}/{step}` posts, at the height where the books stand."""
    cursor = await store.read_cursor(session)
    return ledger.Cause(key, cursor.projected_burn_height, tip.now(), subject=key.rpartition("/")[0])


async def keep_prices(session: AsyncSession, row: tables.Deposit | tables.Withdrawal, prices: Prices) -> None:
    """Notes what a row was priced with."""
    row.btc_round, row.btc_price_e8 = prices.btc_round, prices.btc_e8
    row.stx_round, row.stx_price_e8 = prices.stx_round, prices.stx_e8
    row.price_burn_height = await valued_at(session, prices)
    if prices.volatility is not None:
        row.volatility_ewma = prices.volatility.ewma
        row.volatility_30d = prices.volatility.close_to_close_30d
        row.volatility_90d = prices.volatility.close_to_close_90d
        row.volatility_parkinson = prices.volatility.parkinson_30d


async def existing_deposit(session: AsyncSession, deposit_id: str, *, lock: bool = False) -> tables.Deposit:
    """A deposit that stands, locked if asked; NotFound if there is none."""
    row = await store_positions.get_deposit(session, deposit_id, lock=lock)
    if row is None:
        raise NotFound("DEPOSIT_UNKNOWN", "there is no such deposit")
    return row

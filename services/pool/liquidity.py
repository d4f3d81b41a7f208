"""Deposits join at the first good price after they are final; and what deposits and withdrawals share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import NotFound, Unavailable
from kernel.rpc.tip import TipFollower
from kernel.units import AmountError, Tier, Token
from services.pool import store, store_journal, store_positions, tables
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
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

        By the first good prices observed after it became final, whenever that is asked. Unavailable before them.
        """
        async with self._database.transaction() as session:
            found = await _existing_deposit(session, deposit_id)
        if found.state != store_positions.FINAL:
            return found
        observed = await self._valuation.observe(Token(found.token), found.final_market_time)
        await value_unlocked(
            self._database, self._valuation.joining, Tier(found.tier), Token(found.token), observed.prices
        )
        async with self._database.transaction() as session:
            await store.lock_tiers(session, Tier(found.tier), Token(found.token))
            found = await _existing_deposit(session, deposit_id, lock=True)
            if found.state == store_positions.FINAL:
                await self._issue(session, found, observed.prices)
            return found

    async def _issue(self, session: AsyncSession, deposit: tables.Deposit, prices: Prices) -> None:
        tier, token = Tier(deposit.tier), Token(deposit.token)
        books = await store.tier_books(session, tier, token)
        assets = await self._valuation.joining(session, books, prices)
        try:
            issued = shares.shares_for(deposit.amount, books.shares, assets)
        except AmountError as error:
            raise Unavailable("TIER_WORTHLESS", "the tier's shares are worth too little to be priced") from error
        deposit.state, deposit.shares = store_positions.PRICED, issued
        await keep_prices(session, deposit, prices)
        session.add(deposit)
        cause = await step_cause(session, self._tip, f"deposits/{deposit.id}/price")
        line = store_journal.Line(deposit.provider, SHARES_ISSUED, tier, token, deposit.amount, issued)
        await store_journal.post_entry(session, ledger.shares_issued(cause, tier, token, deposit.amount), [line])


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


async def _existing_deposit(session: AsyncSession, deposit_id: str, *, lock: bool = False) -> tables.Deposit:
    row = await store_positions.get_deposit(session, deposit_id, lock=lock)
    if row is None:
        raise NotFound("DEPOSIT_UNKNOWN", "there is no such deposit")
    return row

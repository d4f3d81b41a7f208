"""Shares issued and burned: deposits joining, withdrawals leaving, each at the first good price after it."""

from __future__ import annotations

from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import FailedPrecondition, NotFound, Unavailable
from kernel.rpc.tip import TipFollower
from kernel.units import AmountError, Tier, Token
from services.pool import store, store_journal, store_positions, tables
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
from services.pool.domain.withdrawal import VOUCHER_BLOCKS, WithdrawalState, judge_amount
from services.pool.valuation import Valuation

SHARES_ISSUED: Final = "shares issued"
SHARES_BURNED: Final = "shares burned"


class Liquidity:
    """Prices what providers bring and take."""

    def __init__(self, database: Database, valuation: Valuation, tip: TipFollower) -> None:
        self._database = database
        self._valuation = valuation
        self._tip = tip

    async def price_deposit(self, deposit_id: str) -> tables.Deposit:
        """Gives a final deposit its shares; the same answer ever after.

        Unavailable until there is a good price observed at or after the deposit became final.
        """
        async with self._database.transaction() as session:
            found = await _existing_deposit(session, deposit_id)
        if found.state != store_positions.FINAL:
            return found
        observed = await self._valuation.observe(Token(found.token))
        if observed.observe_time < found.final_market_time:
            raise Unavailable("NO_PRICE_YET", "no price was observed since the deposit became final")
        await self._value_unlocked(Tier(found.tier), Token(found.token), observed.prices, joining=True)
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
        _keep_prices(deposit, prices)
        session.add(deposit)
        cause = await self._step(session, f"deposits/{deposit.id}/price")
        line = store_journal.Line(deposit.provider, SHARES_ISSUED, tier, token, deposit.amount, issued)
        await store_journal.post_entry(session, ledger.shares_issued(cause, tier, token, deposit.amount), [line])

    async def request(
        self, session: AsyncSession, withdrawal_id: str, provider: str, tier: Tier, token: Token, count: int, key: bytes
    ) -> tables.Withdrawal:
        """Stores a request to burn `count` shares; FailedPrecondition if the provider has not as many to give."""
        now = self._tip.now()
        await store.lock_tiers(session, tier, token)
        held = (await store_positions.shares_of(session, provider)).get((tier, token), 0)
        pending = await store_positions.pending_shares(session, provider, tier, token)
        if count > held - pending:
            raise FailedPrecondition("INSUFFICIENT_SHARES", "fewer shares are free", available=held - pending)
        row = tables.Withdrawal(
            id=withdrawal_id,
            provider=provider,
            tier=int(tier),
            token=int(token),
            shares=count,
            state=WithdrawalState.REQUESTED.value,
            public_key=key,
            request_market_time=now,
        )
        session.add(row)
        return row

    async def price_withdrawal(self, withdrawal_id: str) -> tables.Withdrawal:
        """Burns the shares and fixes the amount, or refuses; the same answer ever after.

        Unavailable until there is a good price observed later than the request.
        """
        async with self._database.transaction() as session:
            found = await _existing(session, withdrawal_id)
        if found.state != WithdrawalState.REQUESTED:
            return found
        observed = await self._valuation.observe(Token(found.token))
        if observed.observe_time <= found.request_market_time:
            raise Unavailable("NO_PRICE_YET", "no price was observed since the request")
        await self._value_unlocked(Tier(found.tier), Token(found.token), observed.prices, joining=False)
        async with self._database.transaction() as session:
            await store.lock_tiers(session, Tier(found.tier), Token(found.token))
            found = await _existing(session, withdrawal_id, lock=True)
            if found.state == WithdrawalState.REQUESTED:
                await self._burn(session, found, observed.prices)
            return found

    async def _burn(self, session: AsyncSession, withdrawal: tables.Withdrawal, prices: Prices) -> None:
        books = await store.tier_books(session, Tier(withdrawal.tier), Token(withdrawal.token))
        assets = await self._valuation.leaving(session, books, prices)
        amount = shares.amount_for(withdrawal.shares, books.shares, assets)
        _keep_prices(withdrawal, prices)
        refusal = judge_amount(amount, books.withdrawable)
        if refusal is not None:
            withdrawal.state, withdrawal.reason = WithdrawalState.REFUSED.value, str(refusal)
            session.add(withdrawal)
            return
        await self._owe(session, withdrawal, books, amount)

    async def _owe(self, session: AsyncSession, withdrawal: tables.Withdrawal, books: TierBooks, amount: int) -> None:
        expiration = self._tip.tip.burn_height + VOUCHER_BLOCKS
        withdrawal.state, withdrawal.amount = WithdrawalState.PRICED.value, amount
        withdrawal.voucher_expiration_burn_height = withdrawal.last_use_burn_height = expiration
        session.add(withdrawal)
        cause = await self._step(session, f"withdrawals/{withdrawal.id}/price")
        entry = ledger.withdrawal_priced(cause, books.tier, books.token, amount)
        line = store_journal.Line(
            withdrawal.provider, SHARES_BURNED, books.tier, books.token, amount, -withdrawal.shares
        )
        await store_journal.post_entry(session, entry, [line])

    async def _value_unlocked(self, tier: Tier, token: Token, prices: Prices, *, joining: bool) -> None:
        """Values many open policies before the tier is locked; remembered, it is only looked up under the lock."""
        async with self._database.transaction() as session:
            books = await store.tier_books(session, tier, token)
            value = self._valuation.joining if joining else self._valuation.leaving
            await value(session, books, prices)

    async def _step(self, session: AsyncSession, key: str) -> ledger.Cause:
        cursor = await store.read_cursor(session)
        return ledger.Cause(key, cursor.projected_burn_height, self._tip.now(), subject=key.rpartition("/")[0])


async def record_voucher(
    session: AsyncSession, withdrawal_id: str, signature: bytes, prepared_transaction: bytes
) -> tables.Withdrawal:
    """Stores the signed voucher: READY. A withdrawal that has ended meanwhile stays as it is."""
    row = await _existing(session, withdrawal_id, lock=True)
    if row.state in (WithdrawalState.REQUESTED, WithdrawalState.REFUSED):
        raise FailedPrecondition("WITHDRAWAL_NOT_PRICED", "there is no voucher to sign", state=row.state)
    if row.state == WithdrawalState.PRICED:
        row.state = WithdrawalState.READY.value
        row.signature, row.prepared_transaction = signature, prepared_transaction
        session.add(row)
    return row


async def _existing(session: AsyncSession, withdrawal_id: str, *, lock: bool = False) -> tables.Withdrawal:
    row = await store_positions.get_withdrawal(session, withdrawal_id, lock=lock)
    if row is None:
        raise NotFound("WITHDRAWAL_UNKNOWN", "there is no such withdrawal")
    return row


async def _existing_deposit(session: AsyncSession, deposit_id: str, *, lock: bool = False) -> tables.Deposit:
    row = await store_positions.get_deposit(session, deposit_id, lock=lock)
    if row is None:
        raise NotFound("DEPOSIT_UNKNOWN", "there is no such deposit")
    return row


def _keep_prices(row: tables.Deposit | tables.Withdrawal, prices: Prices) -> None:
    row.btc_round, row.btc_price_e8 = prices.btc_round, prices.btc_e8
    row.stx_round, row.stx_price_e8 = prices.stx_round, prices.stx_e8

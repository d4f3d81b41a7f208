"""Withdrawals: a queue per tier and token; shares are burned at the first good price after their capital is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel import outbox
from kernel.database import Database
from kernel.errors import FailedPrecondition, NotFound, Unavailable
from kernel.ids import new_id, resource_name
from kernel.rpc.tip import TipFollower
from kernel.temporal import START
from kernel.units import Tier, Token
from services.pool import store, store_journal, store_positions, tables
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.shares import Prices
from services.pool.domain.withdrawal import (
    VOUCHER_BLOCKS,
    WithdrawalRefusal,
    WithdrawalState,
    may_become,
    shares_to_fill,
)
from services.pool.liquidity import keep_prices, market_time, step_cause, value_unlocked
from services.pool.market import NO_PRICE_YET, ObservedPrices
from services.pool.valuation import Valuation
from workflows.contract import WithdrawLiquidityInput, start_withdraw_liquidity

SHARES_BURNED: Final = "shares burned"
CAPITAL_LOCKED: Final = "CAPITAL_LOCKED"
QUEUED: Final = "WITHDRAWAL_QUEUED"
# Why no price is known to anybody by which a withdrawal would be filled.
_WAITS: Final = (NO_PRICE_YET, CAPITAL_LOCKED, QUEUED)


@dataclass(frozen=True)
class Request:
    """What a provider asks for: to burn `count` shares. `public_key` is the wallet's, when known."""

    provider: str
    tier: Tier
    token: Token
    count: int
    public_key: bytes


class Withdrawals:
    """Queues and prices what providers take."""

    def __init__(self, database: Database, valuation: Valuation, tip: TipFollower) -> None:
        self._database = database
        self._valuation = valuation
        self._tip = tip

    async def request(self, session: AsyncSession, wanted: Request) -> tables.Withdrawal:
        """Puts a request at the end of its queue; FailedPrecondition if the provider has fewer shares to give."""
        now = market_time(self._tip)
        await store.lock_tiers(session, wanted.tier, wanted.token)
        held = (await store_positions.shares_of(session, wanted.provider)).get((wanted.tier, wanted.token), 0)
        pending = await store_positions.pending_shares(session, wanted.provider, wanted.tier, wanted.token)
        if wanted.count > held - pending:
            raise FailedPrecondition("INSUFFICIENT_SHARES", "fewer shares are free", available=held - pending)
        row = tables.Withdrawal(
            id=new_id(),
            provider=wanted.provider,
            tier=int(wanted.tier),
            token=int(wanted.token),
            shares=wanted.count,
            state=WithdrawalState.REQUESTED.value,
            public_key=wanted.public_key,
            request_market_time=now,
            free_at_turn=(await store.tier_books(session, wanted.tier, wanted.token)).withdrawable,
        )
        await begin(session, row)
        return row

    async def price_what_is_due(self, withdrawal_id: str) -> None:
        """Before a cancellation: whose price can be known takes it. Unavailable where that cannot be found out now."""
        try:
            await self.price(withdrawal_id)
        except Unavailable as waiting:
            if waiting.reason not in _WAITS:
                raise

    async def cancel(self, session: AsyncSession, withdrawal_id: str) -> tables.Withdrawal:
        """Gives up what is not filled yet; FailedPrecondition once the last of it is priced."""
        found = await existing(session, withdrawal_id)
        await store.lock_tiers(session, Tier(found.tier), Token(found.token))
        row = await existing(session, withdrawal_id, lock=True)
        if not may_become(WithdrawalState(row.state), WithdrawalState.CANCELLED):
            raise FailedPrecondition("WITHDRAWAL_NOT_WAITING", "only what waits can be cancelled", state=row.state)
        was_first = not await store_positions.ahead_in_queue(session, row)
        row.state = WithdrawalState.CANCELLED.value
        session.add(row)
        if was_first:
            books = await store.tier_books(session, Tier(row.tier), Token(row.token))
            await store_positions.begin_next_turn(session, row, market_time(self._tip), books.withdrawable)
        return row

    async def price(self, withdrawal_id: str) -> tables.Withdrawal:
        """Burns the shares and fixes the amount, or refuses; the same answer ever after.

        By the first good prices observed after its turn began, as far as capital was free then. Unavailable until there
        are some (NO_PRICE_YET), while others wait before it (WITHDRAWAL_QUEUED), or while too little was free
        (CAPITAL_LOCKED): then a part may have been filled, and a new turn has begun.
        """
        async with self._database.reading() as session:
            found = await existing(session, withdrawal_id)
            if found.state != WithdrawalState.REQUESTED:
                return found
            _check_turn(await store_positions.ahead_in_queue(session, found))
        turn, tier, token = found.request_market_time, Tier(found.tier), Token(found.token)
        try:
            observed = await self._valuation.observe(token, turn)
        except Unavailable as error:
            if error.reason == NO_PRICE_YET:
                await self._notice_free_capital(withdrawal_id, tier, token)
            raise
        await value_unlocked(self._database, self._valuation.leaving, tier, token, observed.prices)
        async with self._database.transaction() as session:
            await store.lock_tiers(session, tier, token)
            found = await existing(session, withdrawal_id, lock=True)
            if found.state != WithdrawalState.REQUESTED:
                return found
            _check_turn(await store_positions.ahead_in_queue(session, found))
            if found.request_market_time != turn:
                raise Unavailable(NO_PRICE_YET, "its turn has begun anew meanwhile")
            await self._fill(session, found, observed)
        if found.state == WithdrawalState.REQUESTED:
            raise Unavailable(CAPITAL_LOCKED, "too little capital was free", filled_shares=found.filled_shares)
        return found

    async def _notice_free_capital(self, withdrawal_id: str, tier: Tier, token: Token) -> None:
        """While no price is known after its turn began, what becomes free meanwhile begins it anew: at no choice."""
        # Whoever is first asks all the time, and hardly ever is anything new: only then does everybody else wait.
        async with self._database.reading() as session:
            if await _more_is_free(session, await existing(session, withdrawal_id)) is None:
                return
        async with self._database.transaction() as session:
            await store.lock_tiers(session, tier, token)
            row = await existing(session, withdrawal_id, lock=True)
            free = await _more_is_free(session, row)
            if free is not None:
                row.request_market_time, row.free_at_turn = max(market_time(self._tip), row.request_market_time), free
                session.add(row)

    async def _fill(self, session: AsyncSession, row: tables.Withdrawal, observed: ObservedPrices) -> None:
        prices = observed.prices
        books = await store.tier_books(session, Tier(row.tier), Token(row.token))
        assets = await self._valuation.leaving(session, books, prices)
        # What became free later is paid by a price of later: nobody knows a price and waits for capital.
        free = books.withdrawable if row.free_at_turn is None else min(books.withdrawable, row.free_at_turn)
        count = shares_to_fill(row.shares, row.filled_shares, books, assets, free)
        amount = shares.amount_for(count, books.shares, assets)
        session.add(row)
        if count and amount == 0:
            await keep_prices(session, row, prices)
            row.state, row.reason = WithdrawalState.REFUSED.value, str(WithdrawalRefusal.WORTH_NOTHING)
        elif count == row.shares - row.filled_shares:
            await self._owe(session, row, books, count, amount, prices)
        elif count:
            row.filled_shares += count
            part = _part(row, count)
            await self._owe(session, part, books, count, amount, prices)
            await begin(session, part)
        turn, left = max(market_time(self._tip), observed.observe_time), books.withdrawable - amount
        if row.state == WithdrawalState.REQUESTED:
            row.request_market_time, row.free_at_turn = turn, left
        else:
            await store_positions.begin_next_turn(session, row, turn, left)

    async def _owe(
        self, session: AsyncSession, row: tables.Withdrawal, books: TierBooks, count: int, amount: int, prices: Prices
    ) -> None:
        expiration = self._tip.tip.burn_height + VOUCHER_BLOCKS
        row.state, row.amount = WithdrawalState.PRICED.value, amount
        row.voucher_expiration_burn_height = row.last_use_burn_height = expiration
        await keep_prices(session, row, prices)
        cause = await step_cause(session, self._tip, f"withdrawals/{row.id}/price")
        entry = ledger.withdrawal_priced(cause, books.tier, books.token, amount)
        line = store_journal.Line(row.provider, SHARES_BURNED, books.tier, books.token, amount, -count)
        await store_journal.post_entry(session, entry, [line])


async def _more_is_free(session: AsyncSession, row: tables.Withdrawal) -> int | None:
    """What is free of its tier where it waits first and that is more than when its turn began; None otherwise."""
    if row.state != WithdrawalState.REQUESTED or row.free_at_turn is None:
        return None
    free = (await store.tier_books(session, Tier(row.tier), Token(row.token))).withdrawable
    return free if free > row.free_at_turn and not await store_positions.ahead_in_queue(session, row) else None


def _part(row: tables.Withdrawal, count: int) -> tables.Withdrawal:
    return tables.Withdrawal(
        id=new_id(),
        provider=row.provider,
        tier=row.tier,
        token=row.token,
        shares=count,
        part_of=row.id,
        state=row.state,
        public_key=row.public_key,
        request_market_time=row.request_market_time,
    )


async def begin(session: AsyncSession, row: tables.Withdrawal) -> None:
    """Stores a new withdrawal and has its workflow started."""
    session.add(row)
    given = WithdrawLiquidityInput(resource_name("withdrawals", row.id), row.provider, Tier(row.tier).name)
    start = start_withdraw_liquidity(given)
    await outbox.post(session, tables.Outbox, START, start.workflow_id, start.payload())


def _check_turn(ahead: int) -> None:
    if ahead:
        raise Unavailable(QUEUED, "others wait before it for capital", ahead=ahead)


async def record_voucher(
    session: AsyncSession, withdrawal_id: str, signature: bytes, prepared_transaction: bytes
) -> tables.Withdrawal:
    """Stores the signed voucher: READY. A withdrawal that has ended meanwhile stays as it is."""
    row = await existing(session, withdrawal_id, lock=True)
    if row.state in (WithdrawalState.REQUESTED, WithdrawalState.REFUSED, WithdrawalState.CANCELLED):
        raise FailedPrecondition("WITHDRAWAL_NOT_PRICED", "there is no voucher to sign", state=row.state)
    if row.state == WithdrawalState.PRICED:
        row.state = WithdrawalState.READY.value
        row.signature, row.prepared_transaction = signature, prepared_transaction
        session.add(row)
    return row


async def existing(session: AsyncSession, withdrawal_id: str, *, lock: bool = False) -> tables.Withdrawal:
    """A withdrawal, locked if asked; NotFound if there is none."""
    row = await store_positions.get_withdrawal(session, withdrawal_id, lock=lock)
    if row is None:
        raise NotFound("WITHDRAWAL_UNKNOWN", "there is no such withdrawal")
    return row

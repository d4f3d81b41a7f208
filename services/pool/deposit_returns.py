"""A deposit that has no price yet can be taken back: by a voucher for exactly what was deposited."""

from __future__ import annotations

from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import FailedPrecondition, Unavailable
from kernel.ids import new_id
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token
from services.pool import store, store_journal, store_positions, tables
from services.pool.domain import ledger
from services.pool.domain.shares import DepositWait
from services.pool.domain.withdrawal import VOUCHER_BLOCKS, WithdrawalState
from services.pool.liquidity import Deposits, existing_deposit, market_time, step_cause
from services.pool.market import NO_PRICE_YET
from services.pool.withdrawals import begin

DEPOSIT_CANCELLED: Final = "deposit cancelled"
# Why no price is known to anybody by which a deposit would get shares.
_WAITS: Final = (NO_PRICE_YET, DepositWait.TIER_WORTHLESS, DepositWait.BELOW_A_SHARE)


class DepositReturns:
    """Gives back what waits."""

    def __init__(self, deposits: Deposits, tip: TipFollower) -> None:
        self._deposits = deposits
        self._tip = tip

    async def price_what_is_due(self, deposit: tables.Deposit) -> None:
        """Before a cancellation: what can be priced is. Unavailable where that cannot be found out now.

        FailedPrecondition for a deposit that was made again from the chain: of those a person decides.
        """
        if deposit.restored:
            raise FailedPrecondition("DEPOSIT_RESTORED", "what became of it since is not known; a person decides")
        try:
            await self._deposits.price_deposit(deposit.id)
        except Unavailable as waiting:
            if waiting.reason not in _WAITS:
                raise

    async def cancel(
        self, session: AsyncSession, deposit_id: str, public_key: bytes
    ) -> tuple[tables.Deposit, tables.Withdrawal]:
        """Owes the provider what was deposited, and starts the workflow of its voucher.

        FailedPrecondition once it has its shares, or was taken back before.
        """
        found = await existing_deposit(session, deposit_id)
        await store.lock_tiers(session, Tier(found.tier), Token(found.token))
        row = await existing_deposit(session, deposit_id, lock=True)
        if row.state != store_positions.FINAL:
            raise FailedPrecondition("DEPOSIT_NOT_WAITING", "only what waits can be taken back", state=row.state)
        row.state, row.wait_reason = store_positions.CANCELLED, ""
        session.add(row)
        cause = await step_cause(session, self._tip, f"deposits/{row.id}/cancel")
        tier, token = Tier(row.tier), Token(row.token)
        line = store_journal.Line(row.provider, DEPOSIT_CANCELLED, tier, token, row.amount)
        await store_journal.post_entry(session, ledger.deposit_cancelled(cause, tier, token, row.amount), [line])
        withdrawal = self._owed(row, public_key)
        await begin(session, withdrawal)
        return row, withdrawal

    def _owed(self, row: tables.Deposit, public_key: bytes) -> tables.Withdrawal:
        expiration = self._tip.tip.burn_height + VOUCHER_BLOCKS
        return tables.Withdrawal(
            id=new_id(),
            provider=row.provider,
            tier=row.tier,
            token=row.token,
            shares=0,
            deposit_id=row.id,
            state=WithdrawalState.PRICED.value,
            amount=row.amount,
            voucher_expiration_burn_height=expiration,
            last_use_burn_height=expiration,
            public_key=public_key,
            request_market_time=market_time(self._tip),
        )

"""Corrections: what a person moves between accounts, as an entry of its own."""

from __future__ import annotations

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import FailedPrecondition
from kernel.rpc.tip import TipFollower
from kernel.units import Token
from services.pool import store, store_journal
from services.pool.domain import correction, ledger
from services.pool.store_journal import StoredEntry


class Corrections:
    """Posts them."""

    def __init__(self, tip: TipFollower) -> None:
        self._tip = tip

    async def post(
        self,
        session: AsyncSession,
        author: str,
        request_id: str,
        token: Token,
        accounts: tuple[str, str],
        amount: int,
        reason: str,
    ) -> StoredEntry:
        """Moves `amount` base units from the first account to the second.

        FailedPrecondition where an account would hold less than nothing.
        """
        taken_from, given_to = accounts
        cursor = await store.read_cursor(session, lock=True)
        await store.lock_tiers(session)
        before = await store.balances(session, accounts)
        for account, change in ((taken_from, -amount), (given_to, amount)):
            if not correction.may_stand(account, before.get((account, token), 0) + change):
                raise FailedPrecondition("ACCOUNT_OVERDRAWN", "the account does not hold as much", account=account)
        cause = ledger.Cause(f"corrections/{author}/{request_id}", cursor.projected_burn_height, self._tip.now())
        entry = correction.correction(cause, token, taken_from, given_to, amount, reason, author)
        posted = await store_journal.post_entry(session, entry)
        stored = None if posted is None else await store_journal.get_entry(session, posted)
        if stored is None:
            raise FailedPrecondition("CORRECTION_POSTED", "this correction was posted before")
        return stored

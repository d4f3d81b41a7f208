"""Gives nonces to what is queued: nonce, signature and storage in one transaction under the lock of the account.

Nothing leaves this process here. Whatever line a crash hits, the tables say what to do: what was stored is handed in by
whoever finds it due.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, PermissionDenied, ResourceExhausted
from kernel.log import get_logger
from services.chain_gateway import metrics, store_intents, store_keys, store_nonces, store_transactions
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.domain.contract_call import raised_fee
from services.chain_gateway.domain.effect import Finding
from services.chain_gateway.domain.nonce import free_nonces, holes
from services.chain_gateway.hand_in import CLAIM_SECONDS
from services.chain_gateway.preflight import Preflight
from services.chain_gateway.signing import SigningPolicy
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import ChainTransaction, Intent

_MOST_AT_ONCE: Final = 8
"""Signed together; after a failure those behind it are signed again."""
_HOLD_SECONDS: Final = 5.0
_FULL_SECONDS: Final = 1.0


class Allocation:
    """Signs the next transactions of an account."""

    def __init__(self, database: Database, policy: SigningPolicy, state: StateFollower, preflight: Preflight) -> None:
        self._database = database
        self._policy = policy
        self._preflight = preflight
        self._state = state
        self._full: dict[str, tuple[int, float]] = {}

    async def sign_next(
        self, address: str, most: int = _MOST_AT_ONCE, *, new_work: bool = True
    ) -> list[ChainTransaction]:
        """Gives the lowest free nonces of this key to the next intents, and those that must not stay free to fillers;
        stores the signed transactions, and answers them in order.

        Empty when there is nothing to do or no room, when another replica is at it, and while a transaction of this
        key may not have arrived: nothing is signed behind that, so that no gap can arise. Without `new_work`, and while
        the key is draining, only fillers.
        """
        height = self._state.snapshot.row.stacks_height
        if self._was_full(address, height):
            return []
        async with self._database.transaction() as session:
            if await store_nonces.lock_account(session, address) is None:
                return []
            ledger = await store_nonces.ledger(session, address)
            if ledger is None or ledger.unsent:
                return []
            free = free_nonces(ledger.chain_nonce, ledger.occupied)
            if not free:
                self._full[address] = height, time.monotonic() + _FULL_SECONDS
                return []
            must_fill = holes(ledger.chain_nonce, ledger.occupied, ledger.abandoned)
            queued = await self._queued(session, address, min(most, len(free))) if new_work else ()
            return await self._sign_for(session, address, free[:most], must_fill, deque(queued))

    def _was_full(self, address: str, stacks_height: int) -> bool:
        """Whether there was no room, and no block has come since that could have made some."""
        full_height, until = self._full.get(address, (-1, 0.0))
        return full_height == stacks_height and time.monotonic() < until

    async def _sign_for(
        self,
        session: AsyncSession,
        address: str,
        free: Sequence[int],
        must_fill: Collection[int],
        queued: deque[Intent],
    ) -> list[ChainTransaction]:
        rows: list[ChainTransaction] = []
        wanted = bool(queued) or any(nonce in must_fill for nonce in free)
        if not wanted or not await self._preflight.can_pay(address, self._policy.fees.floor_ustx):
            return rows
        await self._policy.allow(queued, address)
        before = await store_nonces.highest_fees(session, address, free)
        for nonce in free:
            row = await self._next(session, address, nonce, before.get(nonce), queued)
            if row is None and nonce in must_fill:
                row = await self._filler(session, address, nonce, before.get(nonce))
            if row is None:
                break
            row.due_time = wall_now() + dt.timedelta(seconds=CLAIM_SECONDS)
            rows.append(row)
        session.add_all(rows)
        await store_nonces.give(session, address, {row.nonce: row.intent_id for row in rows})
        return rows

    async def _queued(self, session: AsyncSession, address: str, most: int) -> Sequence[Intent]:
        """What waits for this key: users' transactions for the sponsor's, all else for the others that take work."""
        sponsored = address == self._policy.sponsor
        if not sponsored and not await store_keys.takes_work(session, address):
            return ()
        queued = await store_intents.lock_queued(session, most, sponsored=sponsored)
        findings = await self._preflight.judge(session, queued)
        for intent in queued:
            if intent.id in findings:
                await self._follow(session, intent, findings[intent.id])
        return [intent for intent in queued if intent.id not in findings]

    async def _follow(self, session: AsyncSession, intent: Intent, found: Finding) -> None:
        """Does what the preflight found instead of sending."""
        get_logger().info("not sent", intent=intent.id, end=found.end, reason=found.reason)
        if found.end is None:
            await store_intents.hold(session, intent, found.reason, wall_now() + dt.timedelta(seconds=_HOLD_SECONDS))
        else:
            await store_intents.end_unsigned(session, intent, found.end, found.reason)

    async def _next(
        self, session: AsyncSession, address: str, nonce: int, before_ustx: int | None, queued: deque[Intent]
    ) -> ChainTransaction | None:
        """The signed transaction of the first queued intent that may be sent; None when there is none.

        `before_ustx` is the highest fee of what was signed for the nonce before; None where nothing was.
        """
        while queued:
            intent = queued.popleft()
            row = await self._sign(session, intent, address, nonce, before_ustx)
            if row is not None:
                intent.state, intent.reason, intent.hold_time = IntentState.SUBMITTED, "", None
                session.add(intent)
                return row
        return None

    async def _sign(
        self, session: AsyncSession, intent: Intent, address: str, nonce: int, before_ustx: int | None
    ) -> ChainTransaction | None:
        try:
            row = await self._policy.sign(session, intent, address, nonce, self._fee_above(before_ustx))
            # The same call at the same nonce and fee, signed before, would be the same transaction.
            while before_ustx is not None and await store_transactions.get(session, row.txid) is not None:
                row = await self._policy.sign(session, intent, address, nonce, row.fee_ustx + 1)
        except PermissionDenied as error:
            # Nothing of it was ever signed, or what was has lost its nonce finally.
            get_logger().error("intent is never signed", intent=intent.id, reason=error.reason, message=error.message)
            metrics.REFUSED_TO_SIGN.inc()
            await store_intents.end_unsigned(session, intent, IntentState.CANCELLED, error.reason)
            return None
        except (ResourceExhausted, Aborted) as error:
            until = wall_now() + dt.timedelta(seconds=_HOLD_SECONDS)
            await store_intents.hold(session, intent, error.reason, until)
            return None
        return row

    def _fee_above(self, before_ustx: int | None) -> int | None:
        """A fee that replaces whatever was signed for a nonce, as far as the cap allows; None where nothing was."""
        if before_ustx is None:
            return None
        fees = self._policy.fees
        return raised_fee(before_ustx, fees.floor_ustx, fees.cap_ustx) or fees.cap_ustx

    async def _filler(
        self, session: AsyncSession, address: str, nonce: int, before_ustx: int | None
    ) -> ChainTransaction:
        """A transaction that does nothing: what lies above this nonce stalls without it."""
        fee = self._fee_above(before_ustx) or self._policy.fees.filler_ustx
        row = await self._policy.sign_filler(session, address, nonce, fee)
        while before_ustx is not None and await store_transactions.get(session, row.txid) is not None:
            row = await self._policy.sign_filler(session, address, nonce, row.fee_ustx + 1)
        row.filler = True
        metrics.FILLERS.inc()
        get_logger().warning("a nonce that nothing has is filled", address=address, nonce=nonce)
        return row

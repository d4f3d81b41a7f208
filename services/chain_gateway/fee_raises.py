"""Replaces a transaction by the same call at the same nonce with a higher fee, up to the cap of the settings."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import PermissionDenied
from kernel.log import get_logger
from services.chain_gateway import metrics, store_intents, store_transactions
from services.chain_gateway.domain.confirmation import IntentState, TransactionState, moved
from services.chain_gateway.domain.contract_call import raised_fee
from services.chain_gateway.hand_in import CLAIM_SECONDS
from services.chain_gateway.keys import Keys
from services.chain_gateway.signing import SigningPolicy
from services.chain_gateway.tables import ChainTransaction

_CAPPED: Final = "FEE_CAP_REACHED"
_CAPPED_SECONDS: Final = 30.0


class FeeRaises:
    """Signs replacements. All transactions of a nonce are followed: whichever is mined counts."""

    def __init__(self, database: Database, keys: Keys, policy: SigningPolicy) -> None:
        self._database = database
        self._keys = keys
        self._policy = policy

    async def raise_fee(self, row: ChainTransaction, at_least_ustx: int) -> ChainTransaction | None:
        """The stored replacement, to be sent; None where there is none: not ours to sign, decided, or at the cap."""
        if row.sender not in self._keys.addresses:
            return None
        fees = self._policy.fees
        fee = raised_fee(row.fee_ustx, max(fees.floor_ustx, at_least_ustx), fees.cap_of(row))
        async with self._database.transaction() as session:
            current = await store_transactions.lock_open(session, row.txid)
            if current is None or await store_transactions.has_successor(session, current):
                return None
            if fee is None:
                await self._at_cap(session, current)
                return None
            raised = await self._sign(session, current, fee)
            if raised is None:
                return None
            ever_taken = current.waiting_stacks_height is not None
            end = TransactionState.REPLACED if ever_taken else TransactionState.DROPPED
            current.state, current.reason = moved(current.state, end), "FEE_RAISED"
            raised.due_time = wall_now() + dt.timedelta(seconds=CLAIM_SECONDS)
            session.add_all([raised, current])
        metrics.FEE_RAISES.inc()
        return raised

    async def _sign(self, session: AsyncSession, current: ChainTransaction, fee_ustx: int) -> ChainTransaction | None:
        if current.intent_id is None:
            raised = await self._policy.sign_filler(session, current.sender, current.nonce, fee_ustx)
            raised.filler = True
            return raised
        intent = await store_intents.get(session, current.intent_id)
        if intent is None or IntentState(intent.state).ended:
            return None
        try:
            return await self._policy.sign(session, intent, current.sender, current.nonce, fee_ustx)
        except PermissionDenied as error:
            await self._say(session, current, error.reason)
            return None

    async def _at_cap(self, session: AsyncSession, current: ChainTransaction) -> None:
        if current.reason != _CAPPED:
            metrics.FEE_CAPPED.inc()
            get_logger().error("a transaction waits at the highest fee", txid=current.txid, fee=current.fee_ustx)
        await self._say(session, current, _CAPPED)

    async def _say(self, session: AsyncSession, current: ChainTransaction, reason: str) -> None:
        current.reason, current.due_time = reason, wall_now() + dt.timedelta(seconds=_CAPPED_SECONDS)
        session.add(current)
        if current.intent_id is not None:
            await store_intents.explain(session, current.intent_id, reason)

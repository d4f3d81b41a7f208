"""Users' transactions whose fee we pay: each becomes one intent, whose transactions the sponsor's own key signs too.

That key has no rights in the contracts and an account of its own: a user who uses their nonce elsewhere can hold up
other sponsored transactions until the gateway gives theirs up, and never a settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import AlreadyExists, FailedPrecondition, ResourceExhausted, Unavailable
from kernel.ids import new_id
from services.chain_gateway import store_intents, store_sponsored, store_transactions
from services.chain_gateway.domain.confirmation import OPEN_TRANSACTIONS, IntentState
from services.chain_gateway.domain.contract_call import SPONSORED_PRIORITY
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.pulse import Pulse
from services.chain_gateway.stacks.transaction import Transaction, pending_sponsor, serialize_transaction
from services.chain_gateway.tables import ChainTransaction, Intent, PreparedTransaction

_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class SponsorLimits:
    """What an account is given: so many transactions in a UTC day, one at a time."""

    most_per_day: int


class Sponsorship:
    """Takes what wallets signed for a sponsor. Without `limits` nothing is sponsored."""

    def __init__(self, database: Database, nodes: NodePool, pulse: Pulse, limits: SponsorLimits | None) -> None:
        self._database = database
        self._nodes = nodes
        self._pulse = pulse
        self._limits = limits

    def check_offered(self) -> SponsorLimits:
        """The limits; FailedPrecondition where nobody pays for others."""
        if self._limits is None:
            raise FailedPrecondition("SPONSORSHIP_OFF", "this gateway pays no fees of users")
        return self._limits

    async def submit(self, prepared: PreparedTransaction, transaction: Transaction) -> ChainTransaction:
        """The transaction as our key has signed it, stored and about to be sent; a repeat answers its latest one.

        `transaction` is what was prepared, signed by its origin. Unavailable while the key has not come to it yet.
        """
        limits = self.check_offered()
        signed = serialize_transaction(transaction.authorized(transaction.origin, pending_sponsor()))
        async with self._database.transaction() as session:
            intent = await store_sponsored.intent_of(session, prepared.id)
        if intent is None:
            await self._check_nonce(prepared.principal, transaction.nonce)
            intent = await self._accept(prepared, signed, limits)
        if intent.origin_signed != signed:
            raise AlreadyExists("PREPARED_TRANSACTION_USED", "it was submitted before, signed otherwise")
        return await self._signed(intent)

    async def _check_nonce(self, principal: str, nonce: int) -> None:
        """Our own nonce waits for the user's: so the next block must be able to take that, and nothing else have it."""
        account = await self._nodes.ask(lambda node: node.nonces(principal))
        following = 0 if account.last_executed is None else account.last_executed + 1
        pending = account.last_mempool is not None and account.last_mempool >= following
        if nonce != following or pending:
            waits = "another transaction of the account is pending" if pending else f"the next one is {following}"
            raise FailedPrecondition("NONCE_NOT_NEXT", f"the transaction's nonce is {nonce}: {waits}")

    async def _accept(self, prepared: PreparedTransaction, signed: bytes, limits: SponsorLimits) -> Intent:
        intent = Intent(
            id=new_id(),
            key=store_sponsored.key_of(prepared.id),
            call=b"",
            purpose="pays the fee of a user's transaction",
            created_by=prepared.principal,
            contract=prepared.contract,
            function=prepared.function,
            payload=prepared.payload,
            post_conditions=prepared.post_conditions,
            priority=SPONSORED_PRIORITY,
            state=IntentState.QUEUED,
            origin_signed=signed,
        )
        day = wall_now().replace(hour=0, minute=0, second=0, microsecond=0)
        async with self._database.transaction() as session:
            # One after the other for an account, so that its limits are exact.
            await store_sponsored.lock(session, prepared.principal)
            stored = await store_sponsored.intent_of(session, prepared.id)
            if stored is not None:
                return stored
            if await store_sponsored.count_open(session, prepared.principal):
                raise ResourceExhausted("SPONSORED_ONE_OPEN", "another sponsored transaction of the account is open")
            if await store_sponsored.count_since(session, prepared.principal, day) >= limits.most_per_day:
                raise ResourceExhausted("SPONSORED_TODAY", f"{limits.most_per_day} a day are sponsored for an account")
            return await store_intents.add(session, intent)

    async def _signed(self, intent: Intent) -> ChainTransaction:
        """The transaction of the intent that counts, as soon as there is one."""
        end = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while True:
            beat = self._pulse.count
            async with self._database.transaction() as session:
                rows = await store_transactions.of_intent(session, intent.id)
                current = await store_intents.get(session, intent.id)
            assert current is not None
            if rows:
                return _that_counts(rows)
            if IntentState(current.state).ended:
                raise FailedPrecondition("SPONSORSHIP_REFUSED", f"it is not sponsored: {current.reason}")
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                raise Unavailable("NOT_SIGNED_YET", "it is accepted; submit the same bytes again for its transaction")
            await self._pulse.after(beat, left)


def _that_counts(rows: Sequence[ChainTransaction]) -> ChainTransaction:
    """The one that a block has, else the last one that may still be mined, else the last one."""
    mined = [row for row in rows if row.mined_index_hash is not None]
    return (mined or [row for row in rows if row.state in OPEN_TRANSACTIONS] or list(rows))[-1]

"""Intents to the chain: nonce, signature, storage, broadcast, in this order, and again from what is stored.

Whatever line a crash hits, the tables say what to do: a transaction that may have left is only ever handed in again
with the same bytes; a nonce is given back only when its transaction was provably never taken.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, PermissionDenied, ResourceExhausted, Unavailable
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from services.chain_gateway import metrics, store_intents, store_transactions
from services.chain_gateway.broadcaster import Broadcaster
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.domain.nonce import has_room, next_nonce
from services.chain_gateway.keys import Keys
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.signing import SigningPolicy
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.tables import ChainTransaction, Intent, NonceSlot

_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_BATCH: Final = 100
_MOST_AT_ONCE: Final = 8
"""Signed together; after a failure those behind it are signed again."""


class Dispatcher:
    """Works while it holds the lease. `run` is its work."""

    def __init__(
        self,
        database: Database,
        nodes: NodePool,
        keys: Keys,
        lease: LeaderLease,
        policy: SigningPolicy,
        broadcaster: Broadcaster,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._keys = keys
        self._lease = lease
        self._policy = policy
        self._broadcaster = broadcaster

    async def run(self) -> None:
        """Dispatches until cancelled or the lease is lost."""
        async with self._database.transaction() as session:
            await store_intents.declare_accounts(session, self._keys.addresses)
        notifications = await self._database.notifications(store_transactions.INTENT_CHANNEL)
        try:
            while True:
                try:
                    await self.step()
                except LeaseLost:
                    raise
                except (Unavailable, Aborted, PermissionDenied, ResourceExhausted, NodeRefused) as error:
                    get_logger().warning("dispatch step failed", error=str(error)[:200])
                    await asyncio.sleep(_RETRY_SECONDS)
                await notifications.wait(_POLL_SECONDS)
        finally:
            await notifications.close()

    async def step(self) -> None:
        """Attends to what is due, then sends what is queued as far as there is room."""
        async with self._database.transaction() as session:
            rows = await store_transactions.due(session, wall_now(), _BATCH)
            counts = await store_intents.count_by_state(session)
        for state in (IntentState.QUEUED, IntentState.SUBMITTED):
            metrics.INTENTS.labels(state.name).set(counts.get(state, 0))
        if rows:
            await self._broadcaster.attend(rows, self._lease)
        if counts.get(IntentState.QUEUED):
            await self._drain()

    async def _drain(self) -> None:
        """Each key takes intents in turn until the queue is empty or no key has room."""
        nonces = {
            address: (await self._nodes.ask(lambda node, who=address: node.account(who))).nonce  # type: ignore[misc]
            for address in self._keys.addresses
        }
        ready = list(self._keys.addresses)
        while ready:
            address = ready.pop(0)
            signed = await self.sign_next(address, nonces[address])
            if signed and await self._broadcaster.send_all(signed):
                ready.append(address)

    async def sign_next(self, address: str, chain_nonce: int, most: int = _MOST_AT_ONCE) -> list[ChainTransaction]:
        """Gives the next intents nonces of this key and stores their signed transactions, in order; empty when there
        are none, when the key has no room, or while one of its transactions may not have arrived."""
        async with self._database.transaction() as session:
            await self._lease.check(session)
            account = await store_intents.lock_account(session, address)
            if await store_intents.has_unsent(session, address):
                return []
            taken = await store_intents.taken_nonces(session, address, max(chain_nonce, account.floor_nonce))
            nonces = _free_nonces(chain_nonce, account.floor_nonce, taken, most)
            intents = await store_intents.lock_queued(session, len(nonces)) if nonces else []
            pairs = zip(intents, nonces, strict=False)
            rows = [await self._sign(session, intent, address, nonce) for intent, nonce in pairs]
            session.add_all(rows)
        return rows

    async def _sign(self, session: AsyncSession, intent: Intent, address: str, nonce: int) -> ChainTransaction:
        row = await self._policy.sign(session, intent, address, nonce)
        # The same call at the same nonce and fee, signed before, would be the same transaction.
        while await store_transactions.get(session, row.txid) is not None:
            row = await self._policy.sign(session, intent, address, nonce, row.fee_ustx + 1)
        intent.state = IntentState.SUBMITTED
        session.add_all([intent, NonceSlot(address=address, nonce=nonce, intent_id=intent.id)])
        await session.flush()
        return row


def _free_nonces(chain_nonce: int, floor_nonce: int, taken: set[int], most: int) -> list[int]:
    """The lowest nonces that are free and within what a node keeps waiting."""
    nonces: list[int] = []
    while len(nonces) < most:
        nonce = next_nonce(chain_nonce, floor_nonce, taken | set(nonces))
        if not has_room(chain_nonce, nonce):
            break
        nonces.append(nonce)
    return nonces

"""Intents to the chain: nonce, signature, storage, broadcast, in this order, and again from what is stored.

Whatever line a crash hits, the tables say what to do: a transaction that may have left is only ever handed in again
with the same bytes; a nonce is given back only when its transaction was provably never taken.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, Unavailable
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
from services.chain_gateway.tables import ChainTransaction, NonceSlot

_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_BATCH: Final = 100


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
                except (Unavailable, Aborted, NodeRefused) as error:
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
            if signed is not None:
                await self._broadcaster.send(signed, first=True)
                ready.append(address)

    async def sign_next(self, address: str, chain_nonce: int) -> ChainTransaction | None:
        """Gives the next intent a nonce of this key and stores its signed transaction; None when there is none."""
        async with self._database.transaction() as session:
            await self._lease.check(session)
            account = await store_intents.lock_account(session, address)
            if await store_intents.has_unsent(session, address):
                return None
            start = max(chain_nonce, account.floor_nonce)
            taken = await store_intents.taken_nonces(session, address, start)
            nonce = next_nonce(chain_nonce, account.floor_nonce, taken)
            if not has_room(chain_nonce, nonce):
                return None
            intent = await store_intents.lock_next_queued(session)
            if intent is None:
                return None
            row = await self._policy.sign(intent, address, nonce)
            intent.state = IntentState.SUBMITTED
            session.add_all([intent, NonceSlot(address=address, nonce=nonce, intent_id=intent.id)])
            await session.flush()
            session.add(row)
        return row

"""The work that never ends: attend to what is due, send what is queued, fill what must not stay empty.

Any number of replicas do it at once and share it: a row that one has claimed, and an account that one has locked, is
passed over by the others. What a killed replica has claimed is due again seconds later.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Sequence
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from services.chain_gateway import metrics, store_intents, store_nonces, store_transactions
from services.chain_gateway.allocation import Allocation
from services.chain_gateway.broadcaster import Broadcaster
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.hand_in import CLAIM_SECONDS
from services.chain_gateway.key_roles import KeyRoles
from services.chain_gateway.keys import Keys
from services.chain_gateway.nonce_reconciliation import NonceReconciliation
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.tables import ChainTransaction
from services.chain_gateway.user_broadcasts import UserBroadcasts

_POLL_SECONDS: Final = 0.5
_PACE_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 0.5
_CLOCK_SECONDS: Final = 1.0
_BATCH: Final = 100


class Dispatcher:
    """`run` is its work, in every replica."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        roles: KeyRoles,
        allocation: Allocation,
        broadcaster: Broadcaster,
        users: UserBroadcasts,
        reconciliation: NonceReconciliation,
        *,
        from_genesis: bool,
    ) -> None:
        self._database = database
        self._keys = keys
        self._roles = roles
        self.allocation = allocation
        self.broadcaster = broadcaster
        self._users = users
        self._reconciliation = reconciliation
        self._from_genesis = from_genesis
        self._clock = 0.0

    async def declare(self) -> None:
        """Makes our accounts known, before any block is ingested: blocks are searched for their transactions."""
        async with self._database.transaction() as session:
            await store_nonces.declare_accounts(session, self._keys.addresses, from_genesis=self._from_genesis)

    async def run(self) -> None:
        """Dispatches until cancelled."""
        await self.declare()
        notifications = await self._database.notifications(store_transactions.INTENT_CHANNEL)
        try:
            while True:
                start = time.monotonic()
                pause = _PACE_SECONDS if await self.step() else _RETRY_SECONDS
                await notifications.wait(_POLL_SECONDS)
                # However many notifications come, a step takes them all.
                await asyncio.sleep(max(0.0, start + pause - time.monotonic()))
        finally:
            await notifications.close()

    async def step(self) -> bool:
        """One round of all work; what fails does not keep the rest from being done. Whether nothing failed."""
        works: list[Awaitable[None]] = [self._attend()]
        if time.monotonic() >= self._clock:
            self._clock = time.monotonic() + _CLOCK_SECONDS
            works += [self._reconciliation.run(), self._measure()]
        works += [self._serve(address) for address in self._keys.addresses]
        return all(await asyncio.gather(*map(_tried, works)))

    async def _attend(self) -> None:
        if not await store_nonces.anything_due(self._database):
            return
        async with self._database.transaction() as session:
            until = wall_now() + dt.timedelta(seconds=CLAIM_SECONDS)
            rows = await store_nonces.claim_due(session, until, _BATCH)
            chain_nonces = await store_nonces.chain_nonces(session, {row.sender for row in rows}) if rows else {}
        await asyncio.gather(
            self.broadcaster.attend(_of_users(rows, False), chain_nonces), self._users.attend(_of_users(rows, True))
        )

    async def _serve(self, address: str) -> None:
        """This key takes what is queued in turns with the others, until nothing waits or it has no room."""
        if not await self._reconciliation.is_ready():
            return
        while signed := await self.allocation.sign_next(address, new_work=await self._roles.takes_work(address)):
            if not await self.broadcaster.send_all(signed):
                return

    async def _measure(self) -> None:
        async with self._database.transaction() as session:
            counts = await store_intents.count_by_state(session)
        for state in (IntentState.QUEUED, IntentState.SUBMITTED):
            metrics.INTENTS.labels(state.name).set(counts.get(state, 0))


def _of_users(rows: Sequence[ChainTransaction], users: bool) -> list[ChainTransaction]:
    return [row for row in rows if (row.prepared_id is not None) == users]


async def _tried(work: Awaitable[None]) -> bool:
    try:
        await work
    except (BitHedgeError, NodeRefused, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        get_logger().warning("dispatch step failed", error=str(error)[:200])
        return False
    return True

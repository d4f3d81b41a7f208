"""The chain's state as this process knows it: read from the database at each notification, awaited by streams."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Unavailable
from services.chain_gateway import store_chain
from services.chain_gateway.domain.confirmation import final_burn_height
from services.chain_gateway.tables import ChainState

_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Snapshot:
    """One reading of the state."""

    row: ChainState
    confirmations: int

    @property
    def final_burn_height(self) -> int:
        """The highest burn height that is final by the service's own number of confirmations."""
        return final_burn_height(self.row.burn_height, self.confirmations)

    def market_time(self) -> dt.datetime:
        """Market time, UTC: the devnet's as of this reading, or wall time now."""
        return self.row.market_time or wall_now()


class StateFollower:
    """Keeps the latest state. Run `follow` in the background."""

    def __init__(self, database: Database, confirmations: int) -> None:
        self._database = database
        self._confirmations = confirmations
        self._snapshot: Snapshot | None = None
        self._changed = asyncio.Condition()

    @property
    def snapshot(self) -> Snapshot:
        """The latest state; Unavailable before the first block was ingested."""
        if self._snapshot is None:
            raise Unavailable("TIP_UNKNOWN", "no block was ingested yet")
        return self._snapshot

    async def refresh(self) -> None:
        """Reads the state and wakes whoever waits."""
        async with self._database.reading() as session:
            row = await store_chain.read_state(session)
        if row is None:
            return
        async with self._changed:
            self._snapshot = Snapshot(row, self._confirmations)
            self._changed.notify_all()

    async def changed(self, since: Snapshot | None, timeout_seconds: float) -> bool:
        """Waits until the state is newer than `since`; False after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: self._snapshot is not None and self._snapshot is not since)
        except TimeoutError:
            return False
        return True

    async def first(self) -> Snapshot:
        """The latest state, as soon as there is one: for streams, which may be opened before the first block."""
        while self._snapshot is None:
            await self.changed(None, _POLL_SECONDS)
        return self._snapshot

    async def follow(self) -> None:
        """Follows the database until cancelled."""
        notifications = await self._database.notifications(store_chain.STATE_CHANNEL)
        try:
            while True:
                await self.refresh()
                await notifications.wait(_POLL_SECONDS)
        finally:
            await notifications.close()

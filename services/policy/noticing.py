"""Gives the notices that time and price cause: near expiry, and in the money. Of several replicas one does."""

from __future__ import annotations

from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.lease import LeaderLease
from kernel.log import get_logger
from services.policy.domain.notice import IN_THE_MONEY_BLOCKS, NEAR_EXPIRY_BLOCKS
from services.policy.sources import Sources
from services.policy.store_notices import add_in_the_money, add_near_expiry, lock_cursor, set_cursor

_POLL_SECONDS: Final = 5.0
_PRICE: Final = "in the money"
# A fall is gone through in steps, so that no transaction gives more notices than the strikes of one step.
_STEP_BPS: Final = 50
_BPS: Final = 10_000


class Noticer:
    """Each kind has a cursor, moved in the transaction of its notices: none is lost, and none given twice."""

    def __init__(self, database: Database, sources: Sources, lease: LeaderLease) -> None:
        self._database = database
        self._sources = sources
        self._lease = lease

    async def run(self) -> None:
        """Gives notices while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            try:
                await self.look()
            except BitHedgeError as error:
                get_logger().info("no notices now", error=str(error)[:200])
            await self._sources.tips.changed(_POLL_SECONDS)

    async def look(self) -> None:
        """Goes by the tip and, while it can be trusted, by the price."""
        tip = self._sources.tip_or_none()
        if tip is None:
            return
        for blocks in NEAR_EXPIRY_BLOCKS:
            await self._near_expiry(blocks, tip.burn_height)
        btc, _ = await self._sources.prices()
        while await self._fall_to(btc.price_usd_e8, tip.burn_height):
            pass

    async def _near_expiry(self, blocks: int, burn_height: int) -> None:
        name = f"near expiry {blocks}"
        async with self._database.transaction() as session:
            await self._lease.check(session)
            given = await lock_cursor(session, name, burn_height)
            if burn_height > given:
                await add_near_expiry(session, given + blocks, burn_height + blocks, blocks, wall_now(), burn_height)
                await set_cursor(session, name, burn_height)

    async def _fall_to(self, price_usd_e8: int, burn_height: int) -> bool:
        """One step from the last price to this one; whether there is another."""
        async with self._database.transaction() as session:
            await self._lease.check(session)
            last = await lock_cursor(session, _PRICE, price_usd_e8)
            reached = max(price_usd_e8, last * (_BPS - _STEP_BPS) // _BPS) if price_usd_e8 < last else price_usd_e8
            if reached < last:
                period = burn_height // IN_THE_MONEY_BLOCKS
                await add_in_the_money(session, reached, last, period, wall_now(), burn_height)
            await set_cursor(session, _PRICE, reached)
            return reached > price_usd_e8

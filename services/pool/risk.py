"""The risk of each tier in each token: answered to whoever asks, and watched, with metrics and a log of what begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import get_logger
from kernel.units import Tier, Token
from services.pool import metrics, store
from services.pool.domain import risk
from services.pool.domain.collateral import TierBooks
from services.pool.domain.risk import Exposure, RiskAlert, Stress
from services.pool.domain.shares import Prices
from services.pool.domain.utilization import coverage_bps, utilization_bps
from services.pool.market import ChainParameters
from services.pool.open_policies import OpenPolicies
from services.pool.valuation import Valuation

_WATCH_SECONDS: Final = 30.0
# Prices move every second; what a person looks at need not.
_KEPT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class TierRisk:
    """One tier in one token. Without prices there is no stress table, without a volatility no exposure."""

    books: TierBooks
    alerts: frozenset[RiskAlert]
    stresses: tuple[Stress, ...]
    exposure: Exposure | None


@dataclass(frozen=True)
class _Mark:
    state: Hashable
    made_at: float
    stresses: tuple[Stress, ...]
    exposure: Exposure | None


class Risk:
    """Assesses tiers. A mark is kept for some seconds while the ledger does not move; one caller at a time makes it."""

    def __init__(self, policies: OpenPolicies) -> None:
        self._policies = policies
        self._known: dict[tuple[Tier, Token], _Mark] = {}
        self._marking = asyncio.Lock()

    async def assess(
        self, session: AsyncSession, books: TierBooks, utilization_max_bps: int, prices: Prices | None
    ) -> TierRisk:
        """The risk of a tier as the session sees it."""
        mark = await self._mark(session, books, prices) if prices else None
        table, exposed = (mark.stresses, mark.exposure) if mark else ((), None)
        found = risk.alerts(books, utilization_max_bps, table)
        return TierRisk(books, found, table, exposed)

    async def _mark(self, session: AsyncSession, books: TierBooks, prices: Prices) -> _Mark:
        height = (await store.read_cursor(session)).projected_burn_height
        state = (height, books, prices.volatility is None, await store.version(session))
        async with self._marking:
            known = self._known.get((books.tier, books.token))
            now = time.monotonic()
            if known is None or known.state != state or now - known.made_at > _KEPT_SECONDS:
                book = await self._policies.book(session, books.tier, books.token)
                table = await asyncio.to_thread(risk.stresses, books, book, prices, height)
                exposed = None
                if prices.volatility is not None:
                    exposed = await asyncio.to_thread(risk.exposure, book, prices, prices.volatility, height)
                known = _Mark(state, now, table, exposed)
                self._known[books.tier, books.token] = known
            return known


class RiskWatch:
    """Measures every tier from time to time and says what begins and what ends."""

    def __init__(self, database: Database, parameters: ChainParameters, valuation: Valuation, risk: Risk) -> None:
        self._database = database
        self._parameters = parameters
        self._valuation = valuation
        self._risk = risk
        self._standing: dict[tuple[Tier, Token], frozenset[RiskAlert]] = {}

    async def run(self) -> None:
        """Watches until cancelled; a look that fails is left to the next."""
        while True:
            try:
                await self.look()
            except BitHedgeError as error:
                get_logger().warning("risk not assessed", error=str(error)[:200])
            await asyncio.sleep(_WATCH_SECONDS)

    async def look(self) -> None:
        """One look at all tiers and tokens."""
        for token in Token:
            prices = await self._valuation.prices(token)
            for tier in Tier:
                bound = (await self._parameters.tier(tier)).utilization_max_bps
                async with self._database.transaction() as session:
                    books = await store.tier_books(session, tier, token)
                    found = await self._risk.assess(session, books, bound, prices)
                _measure(found)
                self._tell(found)

    def _tell(self, found: TierRisk) -> None:
        tier, token = found.books.tier, found.books.token
        before = self._standing.get((tier, token), frozenset())
        self._standing[tier, token] = found.alerts
        for alert in sorted(found.alerts - before):
            get_logger().warning("risk alert begins", alert=str(alert), tier=tier.name, token=token.name)
        for alert in sorted(before - found.alerts):
            get_logger().info("risk alert ends", alert=str(alert), tier=tier.name, token=token.name)


def _measure(found: TierRisk) -> None:
    names = (found.books.tier.name, found.books.token.name)
    metrics.UTILIZATION.labels(*names).set(utilization_bps(found.books))
    metrics.COVERAGE.labels(*names).set(coverage_bps(found.books))
    for alert in RiskAlert:
        metrics.RISK_ALERT.labels(*names, str(alert)).set(alert in found.alerts)
    for row in found.stresses:
        metrics.STRESS.labels(*names, str(row.fall_bps)).set(row.payouts)
    if found.exposure is not None:
        metrics.MODEL_VALUE.labels(*names).set(found.exposure.model_value)
        metrics.SPOT_DELTA.labels(*names).set(found.exposure.spot_delta_sats)

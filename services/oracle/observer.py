"""The loop that aggregates: one round of each feed at every boundary of market time, also those passed over.

One replica leads. Rounds are stored in ascending order, both feeds of a boundary in one transaction: whoever has
seen a round has seen every earlier one that there will ever be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from kernel.rpc.tip import TipFollower
from services.oracle import store
from services.oracle.burn_blocks import BurnBlocks
from services.oracle.domain.aggregation import AggregationRules, Anchor, aggregate
from services.oracle.domain.prices import Feed, Price, PriceStatus, Round, boundary_time
from services.oracle.domain.schedule import due_rounds
from services.oracle.feeds import PriceSource
from services.oracle.metrics import record_round
from services.oracle.publisher import Publisher

_IDLE_SECONDS: Final = 1.0
_BATCH: Final = 60


@dataclass(frozen=True)
class ObservationRules:
    """Seconds of market time between rounds, and how far back missed rounds are made up for."""

    interval_seconds: int
    catch_up_seconds: int
    aggregation: AggregationRules


class Observer:
    """Aggregates under a lease; `run` is the background task."""

    def __init__(
        self,
        database: Database,
        lease: LeaderLease,
        source: PriceSource,
        tip: TipFollower,
        burn_blocks: BurnBlocks,
        publisher: Publisher,
        rules: ObservationRules,
    ) -> None:
        self._database = database
        self._lease = lease
        self._source = source
        self._tip = tip
        self._burn_blocks = burn_blocks
        self._publisher = publisher
        self._rules = rules
        self._last_round: int | None = None
        self._anchors: dict[Feed, Anchor | None] = {}

    async def run(self) -> None:
        """Aggregates and publishes while this replica leads, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        await self._resume()
        while True:
            try:
                caught_up = await self._step()
            except LeaseLost:
                raise
            except BitHedgeError as error:
                get_logger().warning("no round", reason=error.reason, message=error.message)
                caught_up = True
            if caught_up:
                await self._tip.changed(_IDLE_SECONDS)

    async def _resume(self) -> None:
        async with self._database.transaction() as session:
            latest = [await store.latest_price(session, feed) for feed in Feed]
            newest_ok = [await store.latest_ok_price(session, feed) for feed in Feed]
        self._last_round = max((price.round for price in latest if price is not None), default=None)
        self._anchors = {feed: _anchor(price) for feed, price in zip(Feed, newest_ok, strict=True)}

    async def _step(self) -> bool:
        """Makes up to a batch of due rounds and decides on publications; True when none is left."""
        rules, now = self._rules, self._tip.now()
        due = due_rounds(self._last_round, now, rules.interval_seconds, rules.catch_up_seconds)
        if not due:
            await self._publisher.finish()
            return True
        batch = due[:_BATCH]
        rounds = await self._rounds(batch)
        async with self._database.transaction() as session:
            await self._lease.check(session)
            await store.insert_rounds(session, rounds)
        self._remember(rounds, batch[-1])
        if len(batch) < len(due):
            return False
        await self._publisher.decide()
        return self._tip.now() == now

    async def _rounds(self, numbers: Sequence[int]) -> Sequence[Round]:
        times = [boundary_time(number) for number in numbers]
        heights = await self._burn_blocks.heights_at(times)
        anchors, rounds = dict(self._anchors), []
        for number, time in zip(numbers, times, strict=True):
            for feed in Feed:
                one = await self._round(feed, number, heights[time], anchors.get(feed))
                anchors[feed] = _anchor(one.price) or anchors.get(feed)
                rounds.append(one)
        return rounds

    async def _round(self, feed: Feed, number: int, burn_height: int, anchor: Anchor | None) -> Round:
        time = boundary_time(number)
        observations = await self._source.observe(feed, time)
        found = aggregate(observations, time, anchor, self._rules.aggregation)
        price = Price(
            feed,
            number,
            found.status,
            found.reason,
            found.price_usd_e8,
            found.confidence_usd_e8,
            found.observe_time,
            found.first_observe_time,
            burn_height,
            self._source.is_synthetic(feed),
        )
        return Round(price, found.observations)

    def _remember(self, rounds: Sequence[Round], last: int) -> None:
        self._last_round = last
        for one in rounds:
            self._anchors[one.price.feed] = _anchor(one.price) or self._anchors.get(one.price.feed)
            record_round(one)


def _anchor(price: Price | None) -> Anchor | None:
    if price is None or price.status is not PriceStatus.OK:
        return None
    return Anchor(price.price_usd_e8, boundary_time(price.round))

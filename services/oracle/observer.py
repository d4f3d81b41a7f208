"""The loop that aggregates: one round of each feed at every boundary of market time, also those passed over.

One replica leads. Rounds are stored in ascending order, both feeds of a boundary in one transaction: whoever has
seen a round has seen every earlier one that there will ever be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from kernel.rpc.tip import TipFollower
from services.oracle import store, store_breaker
from services.oracle.burn_blocks import BurnBlocks
from services.oracle.domain.aggregation import AggregationRules, aggregate
from services.oracle.domain.breaker import BelievedRange, BreakerRules, BreakerState, judged_jump
from services.oracle.domain.prices import Feed, Price, Round, boundary_time
from services.oracle.domain.schedule import due_rounds
from services.oracle.estimates import keep_estimates
from services.oracle.feeds import PriceSource
from services.oracle.history import fold_missing, keep_candles
from services.oracle.metrics import record_breaker, record_round
from services.oracle.publisher import Publisher

_IDLE_SECONDS: Final = 1.0
_BATCH: Final = 60


@dataclass(frozen=True)
class ObservationRules:
    """Seconds of market time between rounds, and how far back missed rounds are made up for."""

    interval_seconds: int
    catch_up_seconds: int
    aggregation: AggregationRules
    breaker: BreakerRules


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
        self._breakers: Mapping[Feed, BreakerState] = {}

    async def run(self) -> None:
        """Aggregates and publishes while this replica leads, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        await fold_missing(self._database, self._lease, self._rules.interval_seconds)
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
            self._breakers = {feed: await store_breaker.breaker_state(session, feed) for feed in Feed}
        self._last_round = max((price.round for price in latest if price is not None), default=None)

    async def _step(self) -> bool:
        """Makes up to a batch of due rounds and decides on publications; True when none is left."""
        rules, now = self._rules, self._tip.now()
        due = due_rounds(self._last_round, now, rules.interval_seconds, rules.catch_up_seconds)
        if not due:
            await self._publisher.finish()
            return True
        batch = due[:_BATCH]
        rounds, breakers = await self._rounds(batch)
        async with self._database.transaction() as session:
            await self._lease.check(session)
            await store.insert_rounds(session, rounds)
            await keep_candles(session, [one.price for one in rounds], rules.interval_seconds)
            await store_breaker.save_breakers(session, breakers)
            await keep_estimates(session, self._source, [boundary_time(number) for number in batch])
        self._remember(rounds, breakers, batch[-1])
        if len(batch) < len(due):
            return False
        await self._publisher.decide(now)
        return self._tip.now() == now

    async def _rounds(self, numbers: Sequence[int]) -> tuple[Sequence[Round], Mapping[Feed, BreakerState]]:
        """Both feeds' rounds of these boundaries, and what the breakers remember after them."""
        times = [boundary_time(number) for number in numbers]
        heights = await self._burn_blocks.heights_at(times)
        async with self._database.reading() as session:
            overrides = await store_breaker.believed_ranges(session, times[0])
        breakers, rounds = dict(self._breakers), []
        for number, time in zip(numbers, times, strict=True):
            for feed in Feed:
                one, breakers[feed] = await self._round(feed, number, heights[time], breakers[feed], overrides[feed])
                rounds.append(one)
        return rounds, breakers

    async def _round(
        self, feed: Feed, number: int, burn_height: int, breaker: BreakerState, overrides: Sequence[BelievedRange]
    ) -> tuple[Round, BreakerState]:
        time = boundary_time(number)
        observations = await self._source.observe(feed, time)
        found = aggregate(observations, time, self._rules.aggregation)
        found, breaker = judged_jump(found, time, breaker, overrides, self._rules.breaker)
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
        return Round(price, found.observations), breaker

    def _remember(self, rounds: Sequence[Round], breakers: Mapping[Feed, BreakerState], last: int) -> None:
        self._last_round, self._breakers = last, breakers
        for one in rounds:
            record_round(one)
        for feed, breaker in breakers.items():
            record_breaker(feed, breaker)

"""What comes from the gateway, read ahead of the books: events converted and joined while the database takes others in.

A transaction costs a dozen round trips and locks, whether it takes in one event or a thousand.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Self

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2

from kernel.clock import wall_now
from kernel.errors import BitHedgeError
from services.pool import convert
from services.pool.domain.chain_event import ChainEvent

# Whoever asks for capacity waits for the tiers' locks as long as a transaction that takes in so many: tens of
# milliseconds.
_MOST: Final = 1_000
# Nobody else waits longer than the conversion of so many: a fifth of a millisecond.
_AT_ONCE: Final = 20
# A transaction starts with short statements, each of which would wait for that; the long ones come later.
_LATER_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Given:
    """An event as it came; `event` or, where it makes no sense or the database refused it, `error`."""

    message: chain_event_pb2.ChainEvent
    event: ChainEvent | None = None
    error: Exception | None = None

    @classmethod
    def of(cls, message: chain_event_pb2.ChainEvent) -> Self:
        """The event of a message, or why there is none in it."""
        try:
            return cls(message, convert.chain_event(message))
        except (BitHedgeError, ValueError) as error:
            return cls(message, error=error)


@dataclass(slots=True)
class Batch:
    """What one transaction takes in: events in the chain's order, and where the gateway stood after them."""

    events: list[Given] = field(default_factory=list)
    cursor: str = ""
    delivered_burn_height: int = 0
    market_time: dt.datetime = field(default_factory=wall_now)

    async def add(self, answer: gateway_pb2.WatchEventsResponse) -> bool:
        """Takes in one answer more, giving way to others; whether one that follows at once belongs to it."""
        for first in range(0, len(answer.events), _AT_ONCE):
            self.events.extend([Given.of(message) for message in answer.events[first : first + _AT_ONCE]])
            await asyncio.sleep(0)
        self.cursor, self.delivered_burn_height = answer.cursor, answer.delivered_burn_height
        self.market_time = answer.tip.market_time.ToDatetime(dt.UTC) if answer.HasField("tip") else wall_now()
        more_follow = bool(answer.events) and not answer.delivered_burn_height
        return more_follow and len(self.events) < _MOST


async def batches(answers: AsyncIterator[gateway_pb2.WatchEventsResponse]) -> AsyncGenerator[Batch, None]:
    """Answers in their order: each by itself where the books follow the chain, several in one where they are behind.

    While one batch is worked on, the next is read. What a lost stream had begun to fill is dropped with it.
    """
    following = asyncio.ensure_future(_next(answers, 0))
    try:
        while (batch := await following) is not None:
            following = asyncio.ensure_future(_next(answers, _LATER_SECONDS))
            yield batch
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _next(answers: AsyncIterator[gateway_pb2.WatchEventsResponse], delay_seconds: float) -> Batch | None:
    await asyncio.sleep(delay_seconds)
    batch = Batch()
    async for answer in answers:
        if not await batch.add(answer):
            return batch
    return batch if batch.events else None

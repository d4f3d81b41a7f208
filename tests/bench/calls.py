"""Calls per second of one method: 32 in flight, from this process, as bytes that are neither built nor parsed here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from tests.bench.processes import Metadata

IN_FLIGHT: Final = 32


@dataclass
class Calls:
    """A method of a server. `busy` has the share of one core that this process took, per sample."""

    call: Any
    metadata: Metadata
    busy: list[float] = field(default_factory=list)

    async def answer(self, request: bytes) -> bytes:
        """One answer."""
        answer: bytes = await self.call(request, metadata=self.metadata)
        return answer

    async def rate(self, requests: Sequence[bytes]) -> float:
        """Answers per second for these requests; each must be answered with OK."""
        waiting = iter(requests)
        start, worked = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._worker(waiting) for _ in range(IN_FLIGHT)))
        seconds = time.perf_counter() - start
        self.busy.append((time.process_time() - worked) / seconds)
        return len(requests) / seconds

    async def _worker(self, waiting: Iterator[bytes]) -> None:
        for request in waiting:
            await self.call(request, metadata=self.metadata)

    @property
    def client_busy(self) -> float:
        """The highest share; near 1 means that the figures are the client's own."""
        return round(max(self.busy), 2)


@asynccontextmanager
async def calls_to(address: str, method: str, metadata: Metadata = ()) -> AsyncIterator[Calls]:
    """A channel of its own to `host:port`, for a method such as `/bench.Echo/Call`."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield Calls(channel.unary_unary(method), metadata)


def serialized(messages: Iterable[Any]) -> list[bytes]:
    """Requests as bytes, made before the clock runs."""
    return [message.SerializeToString() for message in messages]

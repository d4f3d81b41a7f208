"""Who wants things done: asks either replica, again and again with the same key, and some keys of both at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.rpc.channels import open_channel
from tests.chaos.gateway.orders import Order
from tests.integration.chain_gateway.world import SERVICE

_CALL_SECONDS: Final = 5.0
_AT_ONCE: Final = 12
_TWICE: Final = 0.1
_PAUSE_SECONDS: Final = (0.05, 0.5)
# What a caller must expect of a gateway that is killed, busy, or without a node.
_PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)


class Stubs:
    """A stub per replica. Use as an async context manager."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._channels = AsyncExitStack()
        self.all: tuple[Any, ...] = ()

    async def __aenter__(self) -> Self:
        channels = [await self._channels.enter_async_context(open_channel(address)) for address in self._addresses]
        self.all = tuple(pb_grpc.ChainGatewayServiceStub(channel) for channel in channels)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channels.aclose()


class Customer:
    """Asks for orders. `complaints`: answers that no caller should ever see."""

    def __init__(self, stubs: Stubs, seed: int) -> None:
        self._stubs = stubs
        self._chance = random.Random(f"{seed}/customer")
        self.names: dict[str, str] = {}
        self.refusals: Counter[str] = Counter()
        self.complaints: list[str] = []

    async def order_all(self, orders: Sequence[Order], answered: Callable[[], None]) -> None:
        """Asks for all of them, a few at a time; `answered` after each."""
        waiting = list(reversed(orders))

        async def work() -> None:
            while waiting:
                order = waiting.pop()
                asked = 2 if self._chance.random() < _TWICE else 1
                await asyncio.gather(*(self._order(order, first) for first in range(asked)))
                answered()

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())

    async def _order(self, order: Order, first: int) -> None:
        intent = await self.intent(order, first)
        if self.names.setdefault(order.key, intent.name) != intent.name:
            self.complaints.append(f"{order.key} has two intents: {self.names[order.key]} and {intent.name}")

    async def intent(self, order: Order, first: int | None = None) -> pb.Intent:
        """The intent of an order, from whichever replica answers."""
        request = pb.CreateIntentRequest(key=order.key, call=order.call, purpose="chaos")
        answer = await self._answer(
            lambda stub: stub.CreateIntent(request, metadata=SERVICE, timeout=_CALL_SECONDS), first
        )
        found: pb.Intent = answer.intent
        return found

    async def _answer(self, ask: Callable[[Any], Awaitable[Any]], first: int | None) -> Any:
        turn = self._chance.randrange(len(self._stubs.all)) if first is None else first
        while True:
            try:
                return await ask(self._stubs.all[turn % len(self._stubs.all)])
            except grpc.aio.AioRpcError as error:
                self.refusals[error.code().name] += 1
                if error.code() not in _PASSING:
                    self.complaints.append(f"{error.code().name}: {error.details()}")
            turn += 1
            await asyncio.sleep(self._chance.uniform(*_PAUSE_SECONDS))

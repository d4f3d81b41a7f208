"""Questions whose answer may not be there yet: asked again within one activity, by one asker for all who ask the same.

An activity that failed at each refusal would be a retry that the server of the workflows stores, once a second for
every workflow that waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from temporalio import activity

from kernel.errors import BitHedgeError, Unavailable
from kernel.rpc.channels import remote_errors

# With the deadline of a call, below the time that such an activity may take.
_PATIENCE_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 3.0


class Message(Protocol):
    """A request."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:
        """Its bytes, the same for the same request."""
        ...


RequestT = TypeVar("RequestT", bound=Message)
AnswerT = TypeVar("AnswerT")


class Awaited(Generic[RequestT, AnswerT]):
    """One method of a service; a refusal UNAVAILABLE, or of a given reason, is asked about again for some seconds."""

    def __init__(
        self,
        method: Callable[[RequestT], Awaitable[AnswerT]],
        *awaited_reasons: str,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._method = method
        self._reasons = awaited_reasons
        self._patience_seconds = patience_seconds
        self._asking: dict[bytes, asyncio.Future[AnswerT]] = {}

    async def answer(self, request: RequestT) -> AnswerT:
        """The answer, heartbeating meanwhile; the last refusal as the domain error it is."""
        key = request.SerializeToString(deterministic=True)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(request))
            asking.add_done_callback(lambda ended: self._end(key, ended))
        # Whoever is cancelled leaves the others their question.
        while not asking.done():
            await asyncio.wait([asking], timeout=_HEARTBEAT_SECONDS)
            activity.heartbeat()
        return asking.result()

    def _end(self, key: bytes, ended: asyncio.Future[AnswerT]) -> None:
        del self._asking[key]
        # Nobody may be left to whom the error is told.
        if not ended.cancelled():
            ended.exception()

    async def _ask(self, request: RequestT) -> AnswerT:
        end, pause = time.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                with remote_errors():
                    return await self._method(request)
            except BitHedgeError as error:
                awaited = isinstance(error, Unavailable) or error.reason in self._reasons
                if not awaited or time.monotonic() + pause > end:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

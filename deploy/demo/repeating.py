"""Callers that do not give up: a call that nobody answered is sent again, the same bytes, for a while.

That is what every caller of ours may do: each write carries a request id, and a repeat answers what the first did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

_PAUSE_SECONDS: Final = 0.2
_UNANSWERED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Repeating(grpc.aio.UnaryUnaryClientInterceptor):
    """Repeats a unary call until it is answered or the time has passed; then the last error stands."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """The last call made."""
        deadline = time.monotonic() + self._seconds
        while True:
            call = await continuation(client_call_details, request)
            if await call.code() not in _UNANSWERED or time.monotonic() > deadline:
                return call
            await asyncio.sleep(_PAUSE_SECONDS)

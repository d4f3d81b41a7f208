"""How long the caller of the request being served still waits: set by the interceptor, read by whoever asks others."""

from __future__ import annotations

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def set_deadline(seconds: float | None) -> None:
    """For the interceptor alone: seconds from now, or None when the caller waits for ever."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining_seconds() -> float | None:
    """What is left, not below zero; None outside of a request, and when the caller waits for ever."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())

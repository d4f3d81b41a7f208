"""Time of a call that is too short to time alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def milliseconds_each(count: int, call: Callable[[], Any]) -> float:
    """The mean over so many calls, one after the other."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) * 1000 / count

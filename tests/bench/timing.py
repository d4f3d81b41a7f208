"""Time of a call that is too short to time alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def milliseconds_each(count: int, call: Callable[[], Any]) -> float:
    """Mean processor time of so many calls, one after the other: that of one core, whatever else the machine does."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) * 1000 / count

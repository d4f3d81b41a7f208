"""How long to wait before another attempt."""

from __future__ import annotations

import random
from typing import Final

_FIRST_SECONDS: Final = 0.5


class Backoff:
    """Doubles from half a second up to a limit, each wait drawn from its upper half, so that many do not return at
    once."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self._failures = 0

    def succeeded(self) -> None:
        """The next wait is short again."""
        self._failures = 0

    def failed(self, at_least_seconds: float = 0.0) -> float:
        """Seconds to wait after one more failure, no fewer than the other side asked for."""
        limit = min(self._longest, _FIRST_SECONDS * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return max(limit * random.uniform(0.5, 1.0), at_least_seconds)

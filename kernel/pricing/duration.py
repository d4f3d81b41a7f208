"""How uncertain the time of an expiry is that counts burn blocks, and what that adds to a premium.

A policy ends after n blocks of about ten minutes. Their sum deviates by 1 / sqrt(n) of the mean, since intervals
between blocks are exponential (Nakamoto, "Bitcoin", 2008, section 11), and by the drift of the hash rate within a
difficulty period. The loading is what the value rises when the time is longer by one standard deviation of both.
"""

from __future__ import annotations

import math
from typing import Final

from kernel.pricing.errors import PricingError

# Difficulty follows the hash rate every 2,016 blocks; between, whole periods have run this share early or late.
DRIFT: Final = 0.05


def time_deviation(blocks: int) -> float:
    """One standard deviation of the time of `blocks` burn blocks, as a share of its mean. PricingError below 1."""
    if blocks < 1:
        raise PricingError(f"blocks must be positive: {blocks}")
    return math.sqrt(1.0 / blocks + DRIFT**2)

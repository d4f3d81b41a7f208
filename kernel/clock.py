"""Time: wall time for deadlines, market time for prices, burn blocks for expiry.

Market time is the product's clock for ages of prices, windows and receipts. In production it is wall time; in a
replay the chain's tip carries it, so that days pass in seconds and a pause of the replay ages nothing.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

SECONDS_PER_BURN_BLOCK: Final = 600
BURN_BLOCKS_PER_DAY: Final = 144
BURN_BLOCKS_PER_YEAR: Final = 365 * BURN_BLOCKS_PER_DAY


def wall_now() -> dt.datetime:
    """Wall time, UTC. For deadlines, tokens and records; never for the age of a price."""
    return dt.datetime.now(dt.UTC)


def estimated_time(now: dt.datetime, current_burn_height: int, burn_height: int) -> dt.datetime:
    """When `burn_height` may be mined, at ten minutes a block: an estimate for people, decides nothing."""
    return now + dt.timedelta(seconds=(burn_height - current_burn_height) * SECONDS_PER_BURN_BLOCK)

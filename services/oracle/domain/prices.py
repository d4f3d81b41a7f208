"""What the oracle speaks of: feeds, observations, rounds.

Prices are USD with 8 decimals as integers. Times are market time, UTC. A round's number is the market time of
its boundary in whole Unix seconds: it only grows, both feeds share it, and a replica that computes it again
computes the same.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Feed(enum.IntEnum):
    """A pair that is followed; the values are those of the API."""

    BTC_USD = 1
    STX_USD = 2

    @property
    def symbol(self) -> str:
        """As the contracts spell it: `BTC/USD`."""
        return self.name.replace("_", "/")


class PriceStatus(enum.StrEnum):
    """How far a price can be trusted: OK decides money, DEGRADED is shown only, UNAVAILABLE has no price."""

    OK = "OK"
    DEGRADED = "DEGRADED"
    UNAVAILABLE = "UNAVAILABLE"


class Rejection(enum.StrEnum):
    """Why an observation was not used.

    A reading may fail before there is a price: UNREACHABLE (no connection, or the exchange refused), TIMED_OUT (no
    answer in time), RATE_LIMITED, NOT_LISTED (the exchange does not know the pair), NO_READING (nothing was tried at
    that time, as while the oracle was down), MALFORMED (an answer that is none), NOT_A_NUMBER, OUT_OF_RANGE (more
    than an amount can hold), CROSSED_BOOK (bid above ask), NO_CONVERSION (no usable rate of the currency it is quoted
    in).
    """

    NOT_POSITIVE = "NOT_POSITIVE"
    FUTURE = "FUTURE"
    STALE = "STALE"
    SUPERSEDED = "SUPERSEDED"
    OUTLIER = "OUTLIER"
    UNREACHABLE = "UNREACHABLE"
    TIMED_OUT = "TIMED_OUT"
    RATE_LIMITED = "RATE_LIMITED"
    NOT_LISTED = "NOT_LISTED"
    NO_READING = "NO_READING"
    MALFORMED = "MALFORMED"
    NOT_A_NUMBER = "NOT_A_NUMBER"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    CROSSED_BOOK = "CROSSED_BOOK"
    NO_CONVERSION = "NO_CONVERSION"


@dataclass(frozen=True)
class Observation:
    """What one source said at one market time. `simulated` where the source is not a real exchange.

    `fault` where the source was asked and gave no price to judge: the price is 0 then, and the time is that of the
    faulty reading if it has one, else when it was asked for. `converted_by` names the rate by which the quote was made
    one in USD, such as `USDT/USD`; empty for a quote in USD. Sources that share a rate err together.
    """

    source: str
    price_usd_e8: int
    observe_time: dt.datetime
    simulated: bool = False
    fault: Rejection | None = None
    converted_by: str = ""


@dataclass(frozen=True)
class JudgedObservation:
    """An observation and why it was not used; `rejection` is None when it was.

    `vote_ppm` is its share of the vote on the price, which an outlier has too; 0 for any other that was rejected.
    """

    observation: Observation
    rejection: Rejection | None
    vote_ppm: int = 0

    @property
    def used(self) -> bool:
        """True if the price was made from it."""
        return self.rejection is None


@dataclass(frozen=True)
class Price:
    """An aggregate without its observations.

    UNAVAILABLE has price and confidence 0 and no times. `observe_time` is that of the latest observation used,
    `first_observe_time` of the earliest; `reason` says why the status is not OK,
    or, where it is, who believed a jump.
    """

    feed: Feed
    round: int
    status: PriceStatus
    reason: str
    price_usd_e8: int
    confidence_usd_e8: int
    observe_time: dt.datetime | None
    first_observe_time: dt.datetime | None
    burn_height: int
    synthetic: bool


@dataclass(frozen=True)
class Round:
    """An aggregate with what it was made from."""

    price: Price
    observations: Sequence[JudgedObservation]


def boundary_time(number: int) -> dt.datetime:
    """Market time of a round."""
    return dt.datetime.fromtimestamp(number, dt.UTC)


def unix_seconds(time: dt.datetime) -> int:
    """Whole Unix seconds of a time, the fraction dropped: what messages carry."""
    return int(time.timestamp() // 1)

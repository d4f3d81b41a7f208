"""What an exchange said about a market, and the price that it makes.

The price of a source is the middle of its best bid and ask: what could be traded now. A last trade may be hours old
in a thin market, and one small trade sets it.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from kernel.units import USD_E8
from services.oracle.domain.prices import Rejection

_NUMBER: Final = re.compile(r"[+-]?\d{1,60}(\.\d{0,60})?([eE][+-]?\d{1,3})?", re.ASCII)
# Below ten billion a price in units of 1e-8 fits 64 bits; what is smaller than 1e-30 is no price either.
_LARGEST_EXPONENT: Final = 9
_SMALLEST_EXPONENT: Final = -30
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class ReadingFault(Exception):
    """A reading that is no price, by the name under which its source is rejected."""

    def __init__(self, rejection: Rejection, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{rejection}: {message}")
        self.rejection = rejection
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Quote:
    """Best bid and ask exactly as the exchange spelled them, and its own time if it told one."""

    bid: object
    ask: object
    time: dt.datetime | None


def middle_e8(quote: Quote) -> int:
    """The middle of bid and ask in units of 1e-8 of the quote currency, exact, rounded down once.

    ReadingFault: MALFORMED for a side that is missing, NOT_A_NUMBER (so are more than 60 digits before or behind the
    point), OUT_OF_RANGE, NOT_POSITIVE, CROSSED_BOOK.
    """
    bid, ask = _number("bid", quote.bid), _number("ask", quote.ask)
    if min(bid, ask) <= 0:
        raise ReadingFault(Rejection.NOT_POSITIVE, f"bid {bid}, ask {ask}")
    if bid > ask:
        raise ReadingFault(Rejection.CROSSED_BOOK, f"bid {bid} above ask {ask}")
    price = (Fraction(bid) + Fraction(ask)) * USD_E8 // 2
    if price == 0:
        raise ReadingFault(Rejection.NOT_POSITIVE, f"bid {bid}, ask {ask}")
    return price


def _number(side: str, value: object) -> Decimal:
    if value is None or value == "":
        raise ReadingFault(Rejection.MALFORMED, f"no {side}")
    if isinstance(value, bool) or not isinstance(value, str | int) or not _NUMBER.fullmatch(str(value)):
        raise ReadingFault(Rejection.NOT_A_NUMBER, f"{side} {str(value)[:40]!r}")
    number = Decimal(value)
    if number and not _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT:
        raise ReadingFault(Rejection.OUT_OF_RANGE, f"{side} {str(value)[:40]}")
    return number


def time_of_units(value: object, per_second: int) -> dt.datetime:
    """A time from a count since 1970 (`per_second` 1, 1,000 or 1,000,000); MALFORMED for anything else."""
    try:
        return _EPOCH + dt.timedelta(microseconds=int(str(value)) * (1_000_000 // per_second))
    except (ValueError, OverflowError) as error:
        raise ReadingFault(Rejection.MALFORMED, f"time {str(value)[:40]!r}") from error


def time_of_text(value: object) -> dt.datetime:
    """A time from ISO 8601, UTC where no zone is given; MALFORMED for anything else."""
    try:
        time = dt.datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ReadingFault(Rejection.MALFORMED, f"time {str(value)[:40]!r}") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=dt.UTC)

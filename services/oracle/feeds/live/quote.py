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
_BEYOND: Final = 10 ** (_LARGEST_EXPONENT + 1)
_LONGEST_TIME: Final = 60
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class ReadingFault(Exception):
    """A reading that is no price, by the name under which its source is rejected."""

    def __init__(self, rejection: Rejection, message: str, retry_after_seconds: float = 0.0) -> None:
        # What a source said may hold what no log can write, such as half a surrogate pair.
        super().__init__(f"{rejection}: {message}".encode("ascii", "backslashreplace").decode("ascii"))
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
    bid, ask = number_of("bid", quote.bid), number_of("ask", quote.ask)
    if min(bid, ask) <= 0:
        raise ReadingFault(Rejection.NOT_POSITIVE, f"bid {bid}, ask {ask}")
    if bid > ask:
        raise ReadingFault(Rejection.CROSSED_BOOK, f"bid {bid} above ask {ask}")
    price = (Fraction(bid) + Fraction(ask)) * USD_E8 // 2
    if price == 0:
        raise ReadingFault(Rejection.NOT_POSITIVE, f"bid {bid}, ask {ask}")
    return price


def number_of(what: str, value: object) -> Decimal:
    """A figure as an exchange spelled it, exact, of a size that a price may have; faults as of `middle_e8`."""
    if value is None or value == "":
        raise ReadingFault(Rejection.MALFORMED, f"no {what}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        # Its text is not asked for: that of lists in lists has no bound.
        raise ReadingFault(Rejection.NOT_A_NUMBER, f"{what} of type {type(value).__name__}")
    if isinstance(value, int) and abs(value) >= _BEYOND:
        raise ReadingFault(Rejection.OUT_OF_RANGE, f"{what} of {value.bit_length()} bits")
    if not _NUMBER.fullmatch(str(value)):
        raise ReadingFault(Rejection.NOT_A_NUMBER, f"{what} {str(value)[:40]!r}")
    number = Decimal(value)
    if number and not _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT:
        raise ReadingFault(Rejection.OUT_OF_RANGE, f"{what} {str(value)[:40]}")
    return number


def time_of_units(value: object, per_second: int) -> dt.datetime:
    """A time from a count since 1970 (`per_second` 1, 1,000 or 1,000,000); MALFORMED for anything else."""
    try:
        return _EPOCH + dt.timedelta(microseconds=int(_text(value)) * (1_000_000 // per_second))
    except (ValueError, OverflowError) as error:
        raise ReadingFault(Rejection.MALFORMED, f"no time of 1/{per_second} s: {error}"[:200]) from error


def time_of_text(value: object) -> dt.datetime:
    """A time from ISO 8601, UTC where no zone is given; MALFORMED for anything else."""
    try:
        time = dt.datetime.fromisoformat(_text(value))
    except ValueError as error:
        raise ReadingFault(Rejection.MALFORMED, f"no time in ISO 8601: {error}"[:200]) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=dt.UTC)


def _text(value: object) -> str:
    """ValueError for what is neither text nor a whole number, or is longer than any time."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"of type {type(value).__name__}")
    text = str(value)
    if len(text) > _LONGEST_TIME:
        raise ValueError(f"{len(text)} characters")
    return text

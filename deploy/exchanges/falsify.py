"""Books that are wrong in one way."""

from __future__ import annotations

import dataclasses
import datetime as dt

from deploy.exchanges.faults import Fault
from deploy.exchanges.market import Book


def falsified(book: Book, fault: Fault | None) -> Book:
    """The book with a fault of content in it; itself for any other."""
    match fault:
        case Fault.NAN:
            return dataclasses.replace(book, bid=float("nan"), ask=float("nan"))
        case Fault.TEXT:
            return dataclasses.replace(book, bid="about ten", ask="about ten")
        case Fault.NEGATIVE:
            return dataclasses.replace(book, bid=f"-{book.bid}", ask=f"-{book.bid}")
        case Fault.ZERO:
            return dataclasses.replace(book, bid="0.00", ask="0.00")
        case Fault.HUGE:
            return dataclasses.replace(book, ask="1" + "0" * 30)
        case Fault.CROSSED:
            return Book(book.ask, book.bid, book.time)
        case Fault.ONE_SIDED:
            return dataclasses.replace(book, bid=None)
        case Fault.FUTURE:
            return dataclasses.replace(book, time=book.time + dt.timedelta(hours=1))
        case Fault.ANCIENT:
            # What programs write whose time was never set; nothing can be subtracted from it.
            return dataclasses.replace(book, time=dt.datetime.min.replace(tzinfo=dt.UTC))
        case _:
            return book

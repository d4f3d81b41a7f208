"""What a stand-in of an exchange has to know: its addresses, and its own spelling of everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deploy.exchanges.market import Book
from services.oracle.domain.history import DailyBar


class StandIn(ABC):
    """One exchange: paths below `/{name}`, in the shapes that ccxt 4.5.64 reads.

    `markets`: the exchange's name of each pair. Paths may hold `{market}`; otherwise the request's query names it.
    """

    name: ClassVar[str]
    markets: ClassVar[Mapping[str, str]]
    listing_path: ClassVar[str]
    book_path: ClassVar[str]
    bars_path: ClassVar[str] = ""
    websocket_path: ClassVar[str]
    query: ClassVar[str] = ""
    too_many: ClassVar[Mapping[str, Any]] = {"error": "too many requests"}

    def pair_of(self, market: str) -> str | None:
        """The pair that the exchange calls so."""
        return next((pair for pair, name in self.markets.items() if name == market), None)

    @abstractmethod
    def listing(self) -> Any:
        """Every market."""

    @abstractmethod
    def book(self, market: str, book: Book) -> Any:
        """The answer about the best bid and ask."""

    def bars(self, market: str, bars: Sequence[DailyBar]) -> Any:
        """The answer about daily candles; nothing where no `bars_path` is served."""
        return None

    @abstractmethod
    def subscription(self, message: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
        """The markets that a message of the client subscribes to, and what is answered at once."""

    @abstractmethod
    def update(self, market: str, book: Book) -> Any:
        """The websocket's message about the best bid and ask."""

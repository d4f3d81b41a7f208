"""The envelopes in which a Stacks node and its API answer, around the values of node_types."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Raw

from services.chain_gateway.stacks.node_errors import NodeUnavailable
from services.chain_gateway.stacks.node_json import Told, read
from services.chain_gateway.stacks.node_types import Account, Event, FeeEstimate, TransactionRecord

ItemT = TypeVar("ItemT")
_HexNumber = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{1,32}\Z")]


class Page(Told, Generic[ItemT], frozen=True):
    """A page of a list."""

    results: tuple[ItemT, ...]


class TransactionsPage(Told, frozen=True):
    """A page of a block's transactions, of which there are `total`."""

    total: int
    results: tuple[TransactionRecord, ...]

    def __post_init__(self) -> None:
        if any(one.index is None for one in self.results):
            raise ValueError("a transaction of a block without its place")


class EventsPage(Told, frozen=True):
    """A page of a transaction's events."""

    events: tuple[Event, ...]


class Found(Told, frozen=True):
    """Whether the API knows a transaction; `result` then tells of it, and holds little more than its id otherwise."""

    found: bool
    result: Raw = Raw()

    def transaction(self, txid: str) -> TransactionRecord | None:
        """The transaction; None when the API knows none, `NodeUnavailable` when it tells of another."""
        if not self.found:
            return None
        record = read(TransactionRecord, self.result, txid)
        if record.txid != txid:
            raise NodeUnavailable(f"{txid}: the node tells of another transaction")
        return record


Multiple = dict[str, Found]
"""By txid."""


class ToldAccount(Told, frozen=True):
    """An account, from ``/v2/accounts``, whose amounts are hex."""

    balance: _HexNumber
    locked: _HexNumber
    nonce: int

    @property
    def account(self) -> Account:
        """The account, its amounts as numbers."""
        return Account(int(self.balance, 16), int(self.locked, 16), self.nonce)


class _Estimation(Told, frozen=True):
    fee: Annotated[int, Meta(ge=0)]


class ToldFees(Told, frozen=True):
    """Fees for three degrees of haste."""

    estimations: Annotated[tuple[_Estimation, ...], Meta(min_length=3, max_length=3)]

    @property
    def estimate(self) -> FeeEstimate:
        """The three fees."""
        low, middle, high = self.estimations
        return FeeEstimate(low.fee, middle.fee, high.fee)


class CallRead(Told, frozen=True):
    """What a read-only function returned, as hex of its consensus form, or why it could not."""

    okay: bool
    result: str = ""
    cause: str | None = None

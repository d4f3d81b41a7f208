"""An event of ours as a block holds it, before it has a place in our own history."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

EventKey = tuple[str, str, int]
"""Index hash of the block, txid, index within the transaction: what names an event for ever."""

FEE: Final = "fee"
"""Topic of the fee of a transaction in which no contract of ours printed anything: of no contract."""
FEE_INDEX: Final = 2**31 - 1
"""Its index, the last of all: no transaction prints so often."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A print or a fee. Its fields are the columns of the table `event` that come from the chain, in their order.

    `backend_fee_ustx` is the fee of the whole transaction where one of our keys paid it, and 0 otherwise.
    """

    index_hash: str
    block_hash: str
    stacks_height: int
    burn_height: int
    block_time: dt.datetime
    txid: str
    transaction_index: int
    event_index: int
    sender: str
    backend_fee_ustx: int
    contract: str
    topic: str
    value: bytes

    @property
    def key(self) -> EventKey:
        """What names it."""
        return self.index_hash, self.txid, self.event_index

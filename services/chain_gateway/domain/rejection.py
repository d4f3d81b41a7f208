"""What to do about a node's refusal of a broadcast, by its reason (stacks-core's MemPoolRejection)."""

from __future__ import annotations

import enum
from typing import Final

MOST_REFUSALS: Final = 5
"""Permanent refusals of the same bytes in a row after which an intent is given up: one alone may be a node's error."""


class Remedy(enum.Enum):
    """What follows from a refusal."""

    NONCE = "another transaction has this nonce, maybe one of ours: blocks will tell which"
    FEE = "the fee is too low: sign again with a higher one"
    WAIT = "something passes: hand the same bytes in again later"
    CANCEL = "no node will ever take this transaction"


_REMEDIES: Final = {
    "BadNonce": Remedy.NONCE,
    "ConflictingNonceInMempool": Remedy.NONCE,
    "FeeTooLow": Remedy.FEE,
    "TooMuchChaining": Remedy.WAIT,
    "NotEnoughFunds": Remedy.WAIT,
    "EstimatorError": Remedy.WAIT,
    "TemporarilyBlacklisted": Remedy.WAIT,
    # Not deployed yet as this node sees the chain.
    "NoSuchContract": Remedy.WAIT,
    "ServerFailureNoSuchChainTip": Remedy.WAIT,
    "ServerFailureDatabase": Remedy.WAIT,
    "ServerFailureOther": Remedy.WAIT,
}


def remedy(reason: str) -> Remedy:
    """The remedy for a reason; an unknown one is permanent, for the node has checked and said no."""
    return _REMEDIES.get(reason, Remedy.CANCEL)


def waits_in_mempool(reason: str) -> bool:
    """Whether the refusal says that a mempool holds a transaction of this nonce, which may be stuck there."""
    return reason == "ConflictingNonceInMempool"

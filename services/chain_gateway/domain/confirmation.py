"""When something on chain is final, and what becomes of a transaction and its intent then."""

from __future__ import annotations

import enum
import re
from typing import Final

_ERROR_RESULT: Final = re.compile(r"\(err u(\d+)\)")
SUCCESS: Final = "success"
# Out of the mempool for good on that node; the same bytes may be handed in again while the nonce is free.
DROPPED_STATUSES: Final = frozenset(
    {
        "dropped_replace_by_fee",
        "dropped_replace_across_fork",
        "dropped_too_expensive",
        "dropped_stale_garbage_collect",
        "dropped_problematic",
    }
)


class TransactionState(enum.IntEnum):
    """States of a transaction; the values are stored and are those of the API.

    PENDING: in a mempool, or mined and not final yet. Only the chain ends CONFIRMED and ABORTED, at finality.
    """

    SIGNED = 1
    ACCEPTED = 2
    PENDING = 3
    CONFIRMED = 4
    ABORTED = 5
    DROPPED = 6
    REPLACED = 7
    UNKNOWN = 8


class IntentState(enum.IntEnum):
    """States of an intent; the values are stored and are those of the API."""

    QUEUED = 1
    SUBMITTED = 2
    CONFIRMED = 3
    ABORTED = 4
    CANCELLED = 5

    @property
    def ended(self) -> bool:
        """Whether it never changes again."""
        return self >= IntentState.CONFIRMED


OPEN_TRANSACTIONS: Final = (
    TransactionState.SIGNED,
    TransactionState.ACCEPTED,
    TransactionState.PENDING,
    TransactionState.UNKNOWN,
)
TRANSITIONS: Final[dict[TransactionState, frozenset[TransactionState]]] = {
    TransactionState.SIGNED: frozenset(TransactionState) - {TransactionState.SIGNED},
    TransactionState.ACCEPTED: frozenset(
        {
            TransactionState.PENDING,
            TransactionState.CONFIRMED,
            TransactionState.ABORTED,
            TransactionState.DROPPED,
            TransactionState.REPLACED,
            TransactionState.UNKNOWN,
        }
    ),
    TransactionState.PENDING: frozenset(
        {
            TransactionState.ACCEPTED,
            TransactionState.CONFIRMED,
            TransactionState.ABORTED,
            TransactionState.DROPPED,
            TransactionState.REPLACED,
            TransactionState.UNKNOWN,
        }
    ),
    TransactionState.UNKNOWN: frozenset(TransactionState) - {TransactionState.UNKNOWN, TransactionState.SIGNED},
    # A node forgets, another one mines: what is dropped or replaced may still be found in a block.
    TransactionState.DROPPED: frozenset({TransactionState.PENDING, TransactionState.REPLACED}),
    TransactionState.REPLACED: frozenset({TransactionState.PENDING}),
    # Only a reorganisation of a final block leads out of an end; it is reported, never followed silently.
    TransactionState.CONFIRMED: frozenset(),
    TransactionState.ABORTED: frozenset(),
}


def final_burn_height(tip_burn_height: int, confirmations: int) -> int:
    """The highest burn height that is final: `confirmations` burn blocks lie on top of it."""
    return tip_burn_height - confirmations


def burn_confirmations(tip_burn_height: int, burn_height: int) -> int:
    """How many burn blocks lie on top of a height."""
    return max(0, tip_burn_height - burn_height)


def final_state(node_status: str) -> TransactionState:
    """What a mined transaction with this status is once its block is final."""
    return TransactionState.CONFIRMED if node_status == SUCCESS else TransactionState.ABORTED


def intent_end(node_status: str) -> IntentState:
    """What the intent of a final transaction with this status is."""
    return IntentState.CONFIRMED if node_status == SUCCESS else IntentState.ABORTED


def contract_error(result: str) -> int:
    """The error number in a Clarity literal `(err u3014)`; 0 for any other result."""
    found = _ERROR_RESULT.fullmatch(result)
    return int(found[1]) if found else 0

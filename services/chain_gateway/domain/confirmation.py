"""When something on chain is final, and what becomes of a transaction and its intent then."""

from __future__ import annotations

import enum
import re
from typing import Final

_ERROR_RESULT: Final = re.compile(r"\(err u(\d+)\)")
SUCCESS: Final = "success"
MAX_CONFIRMATIONS: Final = 100
"""The most burn confirmations that finality may ask for; Bitcoin itself lets a coinbase be spent after as many."""
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
    """States of an intent; the values are stored and are those of the API. Each end is proven by the chain.

    CONFIRMED: its effect is final, by one of its transactions, or by somebody's who did the same.
    ABORTED: one of its transactions is final, and the contract refused it.
    CANCELLED: it has and will have no effect: never signed, or given up and another transaction has its nonce finally.
    An intent that merely loses its nonce is queued again.
    """

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
    state: frozenset(TransactionState[name] for name in names.split())
    for state, names in {
        TransactionState.SIGNED: "ACCEPTED PENDING UNKNOWN DROPPED REPLACED",
        TransactionState.ACCEPTED: "PENDING UNKNOWN DROPPED REPLACED",
        TransactionState.PENDING: "CONFIRMED ABORTED ACCEPTED UNKNOWN DROPPED REPLACED",
        TransactionState.UNKNOWN: "ACCEPTED PENDING DROPPED REPLACED",
        # One node forgets, another one mines: what is dropped or replaced may still be found, or be sent again.
        TransactionState.DROPPED: "PENDING UNKNOWN",
        TransactionState.REPLACED: "PENDING UNKNOWN",
        # Only a reorganisation of a final block could lead out of an end; that is reported, never followed silently.
        TransactionState.CONFIRMED: "",
        TransactionState.ABORTED: "",
    }.items()
}


def moved(state: int, to: TransactionState) -> TransactionState:
    """`to`, if a transaction may go there from `state` or is there already; ValueError otherwise."""
    if to != state and to not in TRANSITIONS[TransactionState(state)]:
        raise ValueError(f"a transaction does not go from {TransactionState(state).name} to {to.name}")
    return to


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

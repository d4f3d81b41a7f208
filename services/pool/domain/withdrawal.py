"""The life of a withdrawal and of its voucher."""

from __future__ import annotations

import enum
from typing import Final

# How long a provider has to use a voucher.
VOUCHER_BLOCKS: Final = 36
# A voucher that the vault delayed can be used for a day from its ready height (the vault's own constant).
READY_BLOCKS: Final = 144


class WithdrawalState(enum.StrEnum):
    """Where a withdrawal stands."""

    REQUESTED = "REQUESTED"
    PRICED = "PRICED"
    READY = "READY"
    PAID = "PAID"
    LAPSED = "LAPSED"
    REFUSED = "REFUSED"


class WithdrawalRefusal(enum.StrEnum):
    """Why a withdrawal is refused; stable."""

    INSUFFICIENT_FREE_CAPITAL = "INSUFFICIENT_FREE_CAPITAL"
    WORTH_NOTHING = "WORTH_NOTHING"


_TRANSITIONS: Final = {
    WithdrawalState.REQUESTED: {WithdrawalState.PRICED, WithdrawalState.REFUSED},
    WithdrawalState.PRICED: {WithdrawalState.READY, WithdrawalState.PAID, WithdrawalState.LAPSED},
    WithdrawalState.READY: {WithdrawalState.PAID, WithdrawalState.LAPSED},
    # Only where the chain withdrew the payment.
    WithdrawalState.PAID: {WithdrawalState.READY},
    WithdrawalState.LAPSED: set(),
    WithdrawalState.REFUSED: set(),
}


def may_become(state: WithdrawalState, next_state: WithdrawalState) -> bool:
    """Whether the transition is in the table."""
    return next_state in _TRANSITIONS[state]


def judge_amount(amount: int, withdrawable: int) -> WithdrawalRefusal | None:
    """Why a withdrawal worth `amount` is refused, or None. Both in base units."""
    if amount == 0:
        return WithdrawalRefusal.WORTH_NOTHING
    if amount > withdrawable:
        return WithdrawalRefusal.INSUFFICIENT_FREE_CAPITAL
    return None

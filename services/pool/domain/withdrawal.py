"""The life of a withdrawal and of its voucher, and its place in the queue for capital."""

from __future__ import annotations

import enum
from typing import Final

from kernel.units import mul_div_up
from services.pool.domain import shares
from services.pool.domain.collateral import TierBooks

# How long a provider has to use a voucher.
VOUCHER_BLOCKS: Final = 36
# A voucher that the vault delayed can be used for a day from its ready height (the vault's own constant).
READY_BLOCKS: Final = 144
# A withdrawal is filled in so many parts at most, each a voucher that its provider must pay a fee to use.
MOST_PARTS: Final = 10


class WithdrawalState(enum.StrEnum):
    """Where a withdrawal stands; REQUESTED also while it waits for capital."""

    REQUESTED = "REQUESTED"
    PRICED = "PRICED"
    READY = "READY"
    PAID = "PAID"
    LAPSED = "LAPSED"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"


class WithdrawalRefusal(enum.StrEnum):
    """Why a withdrawal is refused; stable."""

    WORTH_NOTHING = "WORTH_NOTHING"
    # Fewer shares are left of those that it was for; they can be asked for anew.
    SHARES_CONSOLIDATED = "SHARES_CONSOLIDATED"


_TRANSITIONS: Final = {
    WithdrawalState.REQUESTED: {WithdrawalState.PRICED, WithdrawalState.REFUSED, WithdrawalState.CANCELLED},
    WithdrawalState.PRICED: {WithdrawalState.READY, WithdrawalState.PAID, WithdrawalState.LAPSED},
    WithdrawalState.READY: {WithdrawalState.PAID, WithdrawalState.LAPSED},
    # Only where the chain withdrew the payment.
    WithdrawalState.PAID: {WithdrawalState.READY},
    WithdrawalState.LAPSED: set(),
    WithdrawalState.REFUSED: set(),
    WithdrawalState.CANCELLED: set(),
}


def may_become(state: WithdrawalState, next_state: WithdrawalState) -> bool:
    """Whether the transition is in the table."""
    return next_state in _TRANSITIONS[state]


def shares_to_fill(requested: int, filled: int, books: TierBooks, assets: int, free: int) -> int:
    """How many shares of the first in the queue can be burned now for free capital; 0 while it must wait.

    All that are left, or as many as the free capital pays for where that is at least a MOST_PARTS-th of the request.
    `assets` are the tier's net assets for those who leave, `free` the capital that may pay it, base units.
    """
    left = requested - filled
    if shares.amount_for(left, books.shares, assets) <= free:
        return left
    part = min(shares.shares_paid_by(free, books.shares, assets), left)
    return part if part >= mul_div_up(requested, 1, MOST_PARTS) else 0

"""Which nonce a new transaction of ours takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

MAX_PENDING: Final = 25
"""Transactions of one account that a node keeps waiting."""


def next_nonce(chain_nonce: int, floor_nonce: int, taken: Collection[int]) -> int:
    """The lowest nonce that is free: not used on chain, not below the floor, not given to another intent.

    A gap that a cancelled intent left is thus filled first, since it stalls every nonce after it.
    """
    nonce = max(chain_nonce, floor_nonce)
    while nonce in taken:
        nonce += 1
    return nonce


def has_room(chain_nonce: int, nonce: int) -> bool:
    """Whether a node would keep a transaction of this nonce waiting."""
    return nonce < chain_nonce + MAX_PENDING

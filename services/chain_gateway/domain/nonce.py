"""Which nonces of an account are free, and which must be filled although nothing waits for one.

A block takes an account's nonces one by one: whatever lies above a nonce that no transaction has stalls. So the lowest
free nonce is always given first, and a gap is filled by whatever comes, if need be by a transfer that does nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

MAX_PENDING: Final = 25
"""Transactions of one account that a node keeps waiting."""


def free_nonces(chain_nonce: int, occupied: Collection[int]) -> list[int]:
    """Nonces that no transaction has and for which a node has room, in the order in which they are given.

    `chain_nonce` is the account's next one in the chain; `occupied` are those that may still be mined with what has
    them.
    """
    return [nonce for nonce in range(chain_nonce, chain_nonce + MAX_PENDING) if nonce not in occupied]


def holes(chain_nonce: int, occupied: Collection[int], abandoned: Collection[int]) -> set[int]:
    """Free nonces that must not stay so.

    Those below one that is occupied, for it stalls; and the `abandoned` ones, with what is below them: their intents
    were given up, and end only when another transaction has their nonce.
    """
    highest = max((*occupied, *abandoned), default=chain_nonce)
    wanted = {*range(chain_nonce, highest), *abandoned}
    return {nonce for nonce in wanted if nonce >= chain_nonce and nonce not in occupied}

"""The calls that the gateway makes with the backend key: these three and no other, and what they pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class AllowedCall:
    """A function that is called. `priority`: lower goes first; what pays people goes before prices."""

    contract: str
    function: str
    priority: int


SETTLE: Final = AllowedCall("policy-registry", "settle-policy", 0)
EXPIRE: Final = AllowedCall("policy-registry", "expire-policies", 1)
PUBLISH: Final = AllowedCall("oracle", "publish-price", 2)
SPONSORED_PRIORITY: Final = 3
"""Of users' transactions of which we pay the fee."""


def raised_fee(fee_ustx: int, floor_ustx: int, cap_ustx: int) -> int | None:
    """A fee that replaces one of `fee_ustx`: a quarter more, at least one and the floor; None above the cap."""
    raised = max(fee_ustx + max(1, fee_ustx // 4), floor_ustx)
    return raised if raised <= cap_ustx else None


def bounded_fee(estimate_ustx: int, floor_ustx: int, cap_ustx: int) -> int:
    """An estimate within the floor and the cap of the settings."""
    return min(max(estimate_ustx, floor_ustx), cap_ustx)

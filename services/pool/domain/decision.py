"""What is decided about a policy before its end is in the books."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """The oracle's receipt of an activation in the money, or of an expiration height; prices USD e8.

    `policy_id` is None for the latter, `expiration_burn_height` for the former.
    """

    policy_id: str | None
    expiration_burn_height: int | None
    btc_e8: int
    stx_e8: int


@dataclass(frozen=True)
class ExpiryPrices:
    """What the receipt of an expiration height that is reached would say now; prices USD e8.

    Both are 0 where OK rounds cover too little, so that a person decides.
    """

    expiration_burn_height: int
    btc_e8: int
    stx_e8: int

    @property
    def needs_person(self) -> bool:
        """Whether no prices are known to decide."""
        return self.btc_e8 == 0

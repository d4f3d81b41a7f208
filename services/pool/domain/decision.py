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

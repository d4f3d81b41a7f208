"""The on-chain parameters that quotes depend on, read by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kernel.errors import FailedPrecondition
from kernel.units import Tier, Token
from services.policy.domain.errors import Reason
from services.policy.domain.tiers import TierBounds


@dataclass(frozen=True)
class Parameters:
    """Values of the `parameter` contract at one tip; a missing one refuses whatever needs it."""

    values: Mapping[str, int]
    paused: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> int:
        """The value; FailedPrecondition PARAMETER_MISSING if the contract has no such parameter."""
        if name not in self.values:
            raise FailedPrecondition(Reason.PARAMETER_MISSING, f"parameter {name} is not known", parameter=name)
        return self.values[name]

    @property
    def price_move_bps(self) -> int:
        """How far the published BTC price may lie from the quote's spot."""
        return self["creation.max-price-move-bps"]

    def policy_limit(self, token: Token) -> int:
        """The largest collateral of one policy."""
        return self[f"issuance.max-per-policy-{token.name.lower()}"]

    def tiers(self) -> list[TierBounds]:
        """All tiers, tightest first."""
        return [self._tier(tier) for tier in Tier]

    def _tier(self, tier: Tier) -> TierBounds:
        prefix = tier.name.lower()
        return TierBounds(
            tier=tier,
            strike_min_bps=self[f"{prefix}.strike-min-bps"],
            strike_max_bps=self[f"{prefix}.strike-max-bps"],
            floor_min_bps=self[f"{prefix}.floor-min-bps"],
            floor_max_bps=self[f"{prefix}.floor-max-bps"],
            duration_min_blocks=self[f"{prefix}.duration-min-blocks"],
            duration_max_blocks=self[f"{prefix}.duration-max-blocks"],
            stx_haircut_bps=self[f"{prefix}.stx-haircut-bps"],
            loading_bps=self[f"{prefix}.loading-bps"],
        )

"""The policies that the chain has from its first block, the same for the node and for whoever fills the books."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kernel.units import Tier, Token, max_payout
from services.chain_gateway.stacks.c32 import Address, AddressVersion

USD: Final = 10**8
# A day on which the price hardly moved, so that who is in the money is known from the start.
MARKET_START: Final = "2020-02-22T02:00:00Z"
FIRST_BURN_HEIGHT: Final = 1_000
CREATION_BURN_HEIGHT: Final = FIRST_BURN_HEIGHT - 100
EXPIRATION_BURN_HEIGHT: Final = FIRST_BURN_HEIGHT + 30
LATE_BURN_HEIGHT: Final = FIRST_BURN_HEIGHT + 4_000
GRACE_BLOCKS: Final = 6
TIER: Final = Tier.AGGRESSIVE
AMOUNT_SATS: Final = 10_000
BTC_PRICE_USD_E8: Final = 9_650 * USD
STX_PRICE_USD_E8: Final = USD // 4
FLOOR_USD_E8: Final = 7_000 * USD
PREMIUM: Final = 2_000
FEE: Final = 10
DEPOSITED: Final = 10**14
_IN_THE_MONEY_USD_E8: Final = 10_400 * USD
_OUT_OF_THE_MONEY_USD_E8: Final = 9_000 * USD
_HAIRCUT_BPS: Final = 4_000
_PER_HOLDER: Final = 20


@dataclass(frozen=True)
class PlannedPolicy:
    """One policy. `onchain_id` counts from 1."""

    onchain_id: int
    policy_id: str
    holder: Address
    token: Token
    strike_usd_e8: int
    expiration_burn_height: int

    @property
    def max_payout(self) -> int:
        """Its collateral, as the registry computes it."""
        prices = self.strike_usd_e8, FLOOR_USD_E8, STX_PRICE_USD_E8
        return max_payout(self.token, AMOUNT_SATS, *prices, _HAIRCUT_BPS)


def planned(due: int, late: int) -> Iterator[PlannedPolicy]:
    """`due` policies of one expiration, of which every other is in the money, in both tokens alike; then `late` ones,
    all in the money, for whoever activates meanwhile."""
    for number in range(1, due + late + 1):
        digest = hashlib.sha256(f"planned {number}".encode()).hexdigest()
        holder = hashlib.sha256(f"holder {number // _PER_HOLDER}".encode()).digest()[:20]
        in_the_money = number % 2 == 1 or number > due
        yield PlannedPolicy(
            number,
            f"{number:012x}7{digest[:3]}8{digest[3:18]}",
            Address(AddressVersion.TESTNET_SINGLE_SIG, holder),
            Token.STX if number // 2 % 2 else Token.SBTC,
            _IN_THE_MONEY_USD_E8 if in_the_money else _OUT_OF_THE_MONEY_USD_E8,
            EXPIRATION_BURN_HEIGHT if number <= due else LATE_BURN_HEIGHT,
        )


def accounted(due: int, late: int, token: Token) -> int:
    """What the vault holds of a token: the deposit, premiums and fees."""
    return DEPOSITED + sum(PREMIUM + FEE for policy in planned(due, late) if policy.token is token)

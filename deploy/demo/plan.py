"""What the demo plays: the crash of 2020-03-12, two providers, eight policies. Amounts in base units, prices in USD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb2
from bithedge.type.v1 import money_pb2

STX: Final = money_pb2.TOKEN_STX
SBTC: Final = money_pb2.TOKEN_SBTC
# An hour before the fall; the replay then goes to 4,860 within the day.
MARKET_START: Final = "2020-03-12T06:20:00Z"
FAUCET: Final = {STX: 400_000_000_000, SBTC: 1_200_000_000}
_USD_E8: Final = 100_000_000
_HOURS: Final = 6
_SHORT_BLOCKS: Final = 10 * _HOURS
_LONG_BLOCKS: Final = 144 * 3


@dataclass(frozen=True)
class Provider:
    """Who deposits what, into which tier."""

    name: str
    deposits: tuple[tuple[money_pb2.Tier.ValueType, money_pb2.Token.ValueType, int], ...]


@dataclass(frozen=True)
class PlannedPolicy:
    """One policy of the plan. `activate_below_usd` 0: its holder never activates it."""

    scenario: str
    story: str
    token: money_pb2.Token.ValueType
    amount_sats: int
    strike_usd: int
    floor_usd: int
    duration_blocks: int
    expected_state: str
    activate_below_usd: int = 0
    pays_premium: bool = True
    through_us: bool = True

    def terms(self) -> policy_pb2.PolicyTerms:
        """As the holder asks for it."""
        return policy_pb2.PolicyTerms(
            protected_amount_sats=self.amount_sats,
            strike_price_usd_e8=self.strike_usd * _USD_E8,
            floor_price_usd_e8=self.floor_usd * _USD_E8,
            settlement_token=self.token,
            duration_blocks=self.duration_blocks,
        )


def deposit_call(
    tier: money_pb2.Tier.ValueType, token: money_pb2.Token.ValueType, amount: int
) -> gateway_pb2.DepositCall:
    """A provider's deposit."""
    return gateway_pb2.DepositCall(amount=money_pb2.TokenAmount(token=token, base_units=amount), tier=tier)


PROVIDERS: Final = (
    Provider(
        "provider-1",
        (
            (money_pb2.TIER_CONSERVATIVE, SBTC, 500_000_000),
            (money_pb2.TIER_CONSERVATIVE, STX, 100_000_000_000),
        ),
    ),
    Provider(
        "provider-2",
        ((money_pb2.TIER_BALANCED, SBTC, 800_000_000), (money_pb2.TIER_BALANCED, STX, 200_000_000_000)),
    ),
)

POLICIES: Final = (
    PlannedPolicy(
        "a",
        "activated in the fall: paid between zero and the cap",
        SBTC,
        50_000_000,
        7_800,
        4_700,
        _SHORT_BLOCKS,
        "SETTLED",
        activate_below_usd=6_500,
    ),
    PlannedPolicy(
        "b",
        "activated below the floor: paid exactly the cap",
        SBTC,
        40_000_000,
        7_100,
        6_000,
        _SHORT_BLOCKS,
        "SETTLED",
        activate_below_usd=5_700,
        through_us=False,
    ),
    PlannedPolicy(
        "c",
        "out of the money: expires, collateral free again",
        SBTC,
        30_000_000,
        4_500,
        3_700,
        _SHORT_BLOCKS,
        "EXPIRED",
    ),
    PlannedPolicy(
        "d", "forgotten, in the money: settled by itself", SBTC, 25_000_000, 7_000, 4_500, _SHORT_BLOCKS, "SETTLED"
    ),
    PlannedPolicy(
        "e",
        "quote never paid: reservation gone",
        SBTC,
        20_000_000,
        7_500,
        5_000,
        _SHORT_BLOCKS,
        "FAILED_CREATION",
        pays_premium=False,
    ),
    PlannedPolicy(
        "f",
        "settled in STX",
        STX,
        15_000_000,
        7_700,
        4_700,
        _SHORT_BLOCKS,
        "SETTLED",
        activate_below_usd=6_500,
        through_us=False,
    ),
    PlannedPolicy("g", "still open, in sBTC", SBTC, 35_000_000, 7_600, 5_000, _LONG_BLOCKS, "ACTIVE"),
    PlannedPolicy("h", "still open, in STX", STX, 10_000_000, 7_000, 5_700, _LONG_BLOCKS, "ACTIVE"),
)

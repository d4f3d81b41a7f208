"""Shares: what joining costs and what leaving pays, so that nobody gains from those who stay.

An open policy is a liability of the pool, which has two prices:
- who joins counts its American model value now, or the payout now where that is more: what it is expected to take;
- who leaves counts the larger of that and of unearned premium plus payout now: neither takes along what time has not
  earned nor leaves a visible loss behind.
Once the oracle has signed the prices that settle a policy, its payout is decided: it stands for the payout now in both,
and who joins counts that and nothing else, until the chain has ended the policy. The same holds from the burn block of
the expiration on, when the average that will be signed is known: who opted out takes nothing. Where a person must
decide, who leaves counts all that it can take and who joins nothing, whatever it will be.
Each is at most `max_payout`. Leaving is never priced above joining, so that in and out at once only costs; the spread
stays in the tier and shrinks to nothing as policies end, when the rest of the premium is earned at once.

The share price starts at one base unit. A fixed number of virtual shares, backed by as many base units, takes
part in every price: with few shares left nobody can raise the price of one so far that rounding eats a deposit.

A share that is worth less than a thousandth of a base unit gives no price at which somebody may join: shares by the
trillion for whoever comes would take what open policies may still give back to those who lost. Where no policy is open
nothing can come back, and shares are made fewer until each is worth a base unit again (`consolidated`). So there are
never more than a thousand shares per base unit that was there, which int64 holds for all STX and sBTC there can be.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from kernel.pricing import PastVolatility
from kernel.units import Token, assets_for_shares, mul_div_down, mul_div_up, payout, shares_for_deposit
from services.pool.domain.decision import ExpiryPrices

VIRTUAL_SHARES: Final = 1_000
# As many base units stand behind them.
_VIRTUAL_ASSETS: Final = VIRTUAL_SHARES
PRICE_SCALE: Final = 1_000_000
_MOST_SHARES_PER_UNIT: Final = 1_000


class DepositWait(enum.StrEnum):
    """Why a deposit gets no shares at the price of now; stable."""

    NONE = ""
    # The shares that are there are worth next to nothing, and open policies decide whether that stays so.
    TIER_WORTHLESS = "TIER_WORTHLESS"
    # It does not pay for one share.
    BELOW_A_SHARE = "DEPOSIT_BELOW_A_SHARE"


@dataclass(frozen=True)
class Prices:
    """BTC/USD and STX/USD, USD e8, with the oracle's rounds they are from. `stx_e8` is 0 where not needed.

    `volatility` is BTC's as the oracle estimates it; None where it has no history to do so. `expiries` are of the
    heights at which open policies have expired without a receipt that is known. `burn_height` is the chain's when they
    were observed; None for that of the books.
    """

    btc_e8: int
    stx_e8: int
    btc_round: int = 0
    stx_round: int = 0
    volatility: PastVolatility | None = None
    expiries: tuple[ExpiryPrices, ...] = ()
    burn_height: int | None = None

    def fallen(self, fall_bps: int) -> Prices:
        """Both prices lower by `fall_bps`, rounded down, at least 1; what has expired falls no more."""
        left = 10_000 - fall_bps
        btc, stx = (max(mul_div_down(price, left, 10_000), 1) for price in (self.btc_e8, self.stx_e8))
        return Prices(btc, stx, expiries=self.expiries)


class OpenPolicy(NamedTuple):
    """An open policy as the pool sees it: amounts in base units of `token`, prices USD e8.

    A tuple, because a tier may have a million of them to value. `decided_btc_e8` and `decided_stx_e8` are the prices
    by which it will be settled where that is decided, otherwise 0. Only with `auto_settle` expiration pays anything.
    """

    token: Token
    amount_sats: int
    strike_e8: int
    floor_e8: int
    max_payout: int
    premium: int
    created_burn_height: int
    expiration_burn_height: int
    decided_btc_e8: int = 0
    decided_stx_e8: int = 0
    auto_settle: bool = True

    @property
    def decided(self) -> tuple[int, int] | None:
        """The prices of BTC and STX by which it will be settled; None while they are not decided."""
        return (self.decided_btc_e8, self.decided_stx_e8) if self.decided_btc_e8 else None


def expiry_of(policy: OpenPolicy, prices: Prices) -> ExpiryPrices | None:
    """What decides the policy where its expiration height is reached; None before, or where a receipt decides."""
    reached = (one for one in prices.expiries if one.expiration_burn_height == policy.expiration_burn_height)
    return None if policy.decided else next(reached, None)


def intrinsic(policy: OpenPolicy, prices: Prices) -> int:
    """What activation would take from the pool now, or what is decided that it takes; at most `max_payout`.

    All of that after an expiration that a person must decide.
    """
    due = expiry_of(policy, prices)
    if due is not None and not policy.auto_settle:
        return 0
    if due is not None and due.needs_person:
        return policy.max_payout
    btc_e8, stx_e8 = policy.decided or ((due.btc_e8, due.stx_e8) if due else (prices.btc_e8, prices.stx_e8))
    return payout(
        policy.token, policy.amount_sats, policy.strike_e8, policy.floor_e8, btc_e8, stx_e8, policy.max_payout
    )


def unearned_premium(policy: OpenPolicy, burn_height: int) -> int:
    """The premium for the blocks that are left, rounded up; all of it at creation, none at expiration."""
    duration = policy.expiration_burn_height - policy.created_burn_height
    left = min(max(policy.expiration_burn_height - burn_height, 0), max(duration, 0))
    return mul_div_up(policy.premium, left, duration) if left else 0


def claim_when_joining(policy: OpenPolicy, prices: Prices, model_value: int) -> int:
    """The larger of model value and payout now, at most `max_payout`, or what is decided.

    Nothing where a person must decide. `model_value` in base units, rounded down.
    """
    due, taken = expiry_of(policy, prices), intrinsic(policy, prices)
    if due is not None:
        return 0 if due.needs_person else taken
    return taken if policy.decided else min(policy.max_payout, max(model_value, taken))


def claim_when_leaving(policy: OpenPolicy, prices: Prices, model_value: int, burn_height: int) -> int:
    """The larger of model value and unearned premium plus payout now, at most `max_payout`.

    `model_value` as for joining; here it counts rounded up.
    """
    if policy.max_payout <= model_value:
        return policy.max_payout
    visible = unearned_premium(policy, burn_height) + intrinsic(policy, prices)
    return min(policy.max_payout, max(model_value + 1 if model_value else 0, visible))


def claims_when_joining(policies: Iterable[OpenPolicy], prices: Prices, model_values: Iterable[int]) -> int:
    """Sum over a tier's open policies of one token."""
    pairs = zip(policies, model_values, strict=True)
    return sum(claim_when_joining(policy, prices, value) for policy, value in pairs)


def claims_when_leaving(
    policies: Iterable[OpenPolicy], prices: Prices, model_values: Iterable[int], burn_height: int
) -> int:
    """Sum over a tier's open policies of one token."""
    pairs = zip(policies, model_values, strict=True)
    return sum(claim_when_leaving(policy, prices, value, burn_height) for policy, value in pairs)


def net_assets(total_capital: int, claims: int) -> int:
    """Capital less claims, never below zero."""
    return max(total_capital - claims, 0)


def is_worthless(total_shares: int, assets: int) -> bool:
    """Whether a share is worth less than a thousandth of a base unit when `assets` stand behind `total_shares`."""
    return total_shares + VIRTUAL_SHARES > _MOST_SHARES_PER_UNIT * (assets + _VIRTUAL_ASSETS)


def consolidated(held: int, total_shares: int, capital: int) -> int:
    """How many of `held` shares are left when each is made worth one base unit of the capital, rounded down.

    For a tier that is worthless and has no open policies. Nobody is paid less by `amount_for` than before.
    """
    return mul_div_down(held, capital, total_shares)


def why_waits(amount: int, total_shares: int, assets: int) -> DepositWait:
    """Why `amount` cannot join when `assets` stand behind `total_shares`; NONE where it can."""
    if is_worthless(total_shares, assets):
        return DepositWait.TIER_WORTHLESS
    return DepositWait.NONE if shares_for(amount, total_shares, assets) else DepositWait.BELOW_A_SHARE


def shares_for(amount: int, total_shares: int, assets: int) -> int:
    """Shares for joining with `amount` when `assets` stand behind `total_shares`, rounded down; 0 for dust.

    AmountError for a result beyond int64: of a tier that is not worthless only for more than there is of any token.
    """
    return shares_for_deposit(amount, total_shares + VIRTUAL_SHARES, assets + _VIRTUAL_ASSETS)


def amount_for(shares: int, total_shares: int, assets: int) -> int:
    """Base units for leaving with `shares` of `total_shares`, rounded down.

    Where a share is worth less than one base unit, the assets of the virtual shares, which nobody ever paid in,
    would raise its price: then its part of what is really there counts.
    """
    if shares == 0:
        return 0
    virtual = assets_for_shares(shares, total_shares + VIRTUAL_SHARES, assets + _VIRTUAL_ASSETS)
    return min(virtual, assets_for_shares(shares, total_shares, assets))


def shares_paid_by(amount: int, total_shares: int, assets: int) -> int:
    """How many shares `amount` base units pay for in full, rounded down: the inverse of `amount_for`.

    `assets` are positive: with none, every share leaves for nothing.
    """
    with_virtual = mul_div_down(amount, total_shares + VIRTUAL_SHARES, assets + _VIRTUAL_ASSETS)
    return max(with_virtual, mul_div_down(amount, total_shares, assets))


def share_price_e6(total_shares: int, assets: int) -> int:
    """What one million shares are worth in base units, rounded down."""
    return mul_div_down(PRICE_SCALE, assets + _VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)

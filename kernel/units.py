"""Money in exact integers: the formulas of the product, each rounding rule stated once.

Amounts are base units: sats (1e-8 BTC), uSTX (1e-6 STX). Prices are USD per BTC or per STX with 8 decimals
(`_e8`). Ratios are basis points. Rounding: premiums and fees up, payouts and shares down, so that a fraction
of a base unit always stays in the pool. Every input and result is an int64 (what the APIs and the database
carry) and every intermediate product a uint128 (what the contract computes in); outside that, or negative,
or not an `int`, it is an `AmountError`.
"""

from __future__ import annotations

import enum
import math
from fractions import Fraction
from typing import Final

INT64_MAX: Final = 2**63 - 1
UINT128_MAX: Final = 2**128 - 1
BPS: Final = 10_000
SATS_PER_BTC: Final = 100_000_000
USTX_PER_STX: Final = 1_000_000
USD_E8: Final = 100_000_000
# sats x USD_e8 / USD_e8-per-STX has 8 decimals; uSTX has 6.
_SATS_PER_USTX_SCALE: Final = SATS_PER_BTC // USTX_PER_STX


class AmountError(ValueError):
    """An amount, price or ratio that is negative, too large, not an integer, or meaningless together."""


class Token(enum.IntEnum):
    """Settlement token; the values are those of the contracts."""

    STX = 1
    SBTC = 2


class Tier(enum.IntEnum):
    """Risk tier, tightest first; the values are those of the contracts."""

    CONSERVATIVE = 1
    BALANCED = 2
    AGGRESSIVE = 3


def check_amount(name: str, value: int) -> int:
    """`value` if it is an int (no bool) in [0, 2**63); else AmountError naming `name`."""
    if type(value) is not int:
        raise AmountError(f"{name} is not an integer: {value!r}")
    if not 0 <= value <= INT64_MAX:
        raise AmountError(f"{name} is out of range: {value}")
    return value


def check_positive(name: str, value: int) -> int:
    """`value` if it is an int in [1, 2**63); else AmountError naming `name`."""
    if check_amount(name, value) == 0:
        raise AmountError(f"{name} is zero")
    return value


def check_bps(name: str, value: int) -> int:
    """`value` if it is an int in [0, 10000]; else AmountError naming `name`."""
    if check_amount(name, value) > BPS:
        raise AmountError(f"{name} is above {BPS} bps: {value}")
    return value


def mul_div_down(first: int, second: int, divisor: int) -> int:
    """first x second / divisor, rounded down. Operands up to uint128, as in the contract."""
    numerator = _product(first, second)
    return _quotient(numerator, divisor)


def mul_div_up(first: int, second: int, divisor: int) -> int:
    """first x second / divisor, rounded up. Operands up to uint128, as in the contract."""
    numerator = _product(first, second)
    return _quotient(numerator, divisor, round_up=True)


def bps_of_down(amount: int, bps: int) -> int:
    """`bps` basis points of `amount`, rounded down; `bps` may exceed 10000."""
    return mul_div_down(check_amount("amount", amount), check_amount("bps", bps), BPS)


def bps_of_up(amount: int, bps: int) -> int:
    """`bps` basis points of `amount`, rounded up; `bps` may exceed 10000."""
    return mul_div_up(check_amount("amount", amount), check_amount("bps", bps), BPS)


def notional_usd_e8(amount_sats: int, price_e8: int) -> int:
    """Size x price in USD e8, rounded down: a figure for people and limits, never paid."""
    return mul_div_down(check_amount("amount_sats", amount_sats), check_amount("price_e8", price_e8), SATS_PER_BTC)


def pays(token: Token, amount_sats: int, strike_e8: int, floor_e8: int, btc_price_e8: int, stx_price_e8: int) -> bool:
    """Whether a policy is in the money: its payout at these prices is at least one base unit.

    `payout` > 0 for every collateral of at least one base unit, and answers also where a payout would not fit int64.
    """
    _check_terms(amount_sats, strike_e8, floor_e8)
    settled_e8 = max(check_positive("btc_price_e8", btc_price_e8), floor_e8)
    if settled_e8 >= strike_e8:
        return False
    gain = amount_sats * (strike_e8 - settled_e8)
    if token is Token.SBTC:
        return gain >= settled_e8
    return gain >= _SATS_PER_USTX_SCALE * check_positive("stx_price_e8", stx_price_e8)


def max_payout(
    token: Token, amount_sats: int, strike_e8: int, floor_e8: int, stx_price_e8: int, haircut_bps: int
) -> int:
    """Collateral of a policy in base units of `token`: the payout at the floor, rounded down.

    For STX at the quote's STX price less the haircut; for sBTC `stx_price_e8` and `haircut_bps` are not used.
    Raises AmountError unless 0 < floor < strike and (STX) price > 0 and haircut < 10000.
    """
    _check_terms(amount_sats, strike_e8, floor_e8)
    gain = _product(amount_sats, strike_e8 - floor_e8)
    if token is Token.SBTC:
        return _quotient(gain, floor_e8)
    check_positive("stx_price_e8", stx_price_e8)
    if check_bps("haircut_bps", haircut_bps) == BPS:
        raise AmountError("haircut_bps leaves no STX price")
    divisor = _product(_SATS_PER_USTX_SCALE * stx_price_e8, BPS - haircut_bps)
    return _quotient(_product(gain, BPS), divisor)


def largest_amount_sats(
    token: Token, strike_e8: int, floor_e8: int, stx_price_e8: int, haircut_bps: int, collateral: int
) -> int:
    """The largest size of a policy whose `max_payout` is at most `collateral` base units; arguments as there."""
    _check_terms(0, strike_e8, floor_e8)
    divisor = floor_e8
    gain = strike_e8 - floor_e8
    if token is Token.STX:
        check_positive("stx_price_e8", stx_price_e8)
        divisor = _SATS_PER_USTX_SCALE * stx_price_e8 * (BPS - check_bps("haircut_bps", haircut_bps))
        gain *= BPS
    # The payout rounds down: it exceeds the collateral from the first size whose exact payout is one unit more.
    return -(-(check_amount("collateral", collateral) + 1) * divisor // gain) - 1


def stx_cap_price_e8(stx_price_e8: int, haircut_bps: int) -> int:
    """STX price (USD e8, rounded up) below which the collateral caps a payout at the floor.

    `stx_price_e8` is the quote's. At BTC prices above the floor the cap binds only at a lower STX price.
    """
    check_positive("stx_price_e8", stx_price_e8)
    return bps_of_up(stx_price_e8, BPS - check_bps("haircut_bps", haircut_bps))


def payout(
    token: Token,
    amount_sats: int,
    strike_e8: int,
    floor_e8: int,
    btc_price_e8: int,
    stx_price_e8: int,
    max_payout: int,
) -> int:
    """What activation pays at these prices, in base units of `token`, rounded down; 0 out of the money.

    `max_payout` is the policy's collateral: for STX it caps the payout; for sBTC the floor alone does, and
    a payout above it means terms that do not belong together (AmountError). For sBTC `stx_price_e8` is not
    used.
    """
    _check_terms(amount_sats, strike_e8, floor_e8)
    check_positive("btc_price_e8", btc_price_e8)
    check_amount("max_payout", max_payout)
    settled_e8 = max(btc_price_e8, floor_e8)
    if settled_e8 >= strike_e8:
        return 0
    gain = _product(amount_sats, strike_e8 - settled_e8)
    if token is Token.SBTC:
        paid = _quotient(gain, settled_e8)
        if paid > max_payout:
            raise AmountError(f"payout {paid} above max_payout {max_payout}: terms do not belong together")
        return paid
    check_positive("stx_price_e8", stx_price_e8)
    return min(max_payout, gain // (_SATS_PER_USTX_SCALE * stx_price_e8))


def minimum_premium(payout_now: int, max_payout: int, margin_bps: int, min_rate_bps: int) -> int:
    """Least premium that the contract accepts, in base units.

    payout(P) x (10000 - margin) / 10000 + max_payout x min_rate / 10000, each term rounded up, so that the
    contract's comparison holds whichever way it rounds.
    """
    check_bps("margin_bps", margin_bps)
    intrinsic = bps_of_up(payout_now, BPS - margin_bps)
    return check_amount("minimum premium", intrinsic + bps_of_up(max_payout, min_rate_bps))


def usd_e8_from_float(value_usd: float) -> int:
    """USD e8 of a model's value, rounded up exactly (no second float rounding). AmountError if not finite."""
    if not math.isfinite(value_usd):
        raise AmountError(f"value is not finite: {value_usd!r}")
    return check_amount("value_usd_e8", math.ceil(Fraction(value_usd) * USD_E8))


def premium_usd_e8(value_per_btc_e8: int, amount_sats: int, loading_bps: int, extra_per_btc_e8: int = 0) -> int:
    """Premium in USD e8: (value per BTC x (1 + loading) + extra per BTC) x size, rounded up once."""
    loaded = _product(
        check_amount("value_per_btc_e8", value_per_btc_e8), BPS + check_amount("loading_bps", loading_bps)
    )
    extra = _product(check_amount("extra_per_btc_e8", extra_per_btc_e8), BPS)
    return mul_div_up(loaded + extra, check_amount("amount_sats", amount_sats), SATS_PER_BTC * BPS)


def premium_base_units(token: Token, value_usd_e8: int, btc_price_e8: int, stx_price_e8: int) -> int:
    """A USD e8 value in base units of `token` at these prices, rounded up.

    Only the price of `token` is used (sBTC counts as BTC); it must be positive.
    """
    check_amount("value_usd_e8", value_usd_e8)
    if token is Token.SBTC:
        return mul_div_up(value_usd_e8, SATS_PER_BTC, check_positive("btc_price_e8", btc_price_e8))
    return mul_div_up(value_usd_e8, USTX_PER_STX, check_positive("stx_price_e8", stx_price_e8))


def fee(premium: int, fee_bps: int) -> int:
    """Platform fee on a premium in the same base units, rounded up."""
    return bps_of_up(premium, check_bps("fee_bps", fee_bps))


def shares_for_deposit(amount: int, total_shares: int, net_assets: int) -> int:
    """Shares for a deposit of `amount` base units, rounded down; the first deposit gets one per base unit.

    `total_shares` and `net_assets` are those before the deposit. May be 0 for an amount below one share's
    price: the caller refuses such a deposit. AmountError when shares exist but no assets stand behind them.
    """
    check_amount("amount", amount)
    if check_amount("total_shares", total_shares) == 0:
        return amount
    return mul_div_down(amount, total_shares, check_positive("net_assets", net_assets))


def assets_for_shares(shares: int, total_shares: int, net_assets: int) -> int:
    """Base units for `shares` of `total_shares`, rounded down. AmountError if more shares than exist."""
    check_positive("total_shares", total_shares)
    if check_amount("shares", shares) > total_shares:
        raise AmountError(f"{shares} shares of {total_shares}")
    return mul_div_down(shares, check_amount("net_assets", net_assets), total_shares)


def _check_terms(amount_sats: int, strike_e8: int, floor_e8: int) -> None:
    check_amount("amount_sats", amount_sats)
    check_positive("strike_e8", strike_e8)
    if check_positive("floor_e8", floor_e8) >= strike_e8:
        raise AmountError(f"floor_e8 {floor_e8} is not below strike_e8 {strike_e8}")


def _product(first: int, second: int) -> int:
    for value in (first, second):
        if type(value) is not int or value < 0:
            raise AmountError(f"not a non-negative integer: {value!r}")
    result = first * second
    if result > UINT128_MAX:
        raise AmountError(f"product of {first} and {second} exceeds uint128")
    return result


def _quotient(numerator: int, divisor: int, *, round_up: bool = False) -> int:
    if type(divisor) is not int or divisor <= 0:
        raise AmountError(f"divisor is not a positive integer: {divisor!r}")
    result = -(-numerator // divisor) if round_up else numerator // divisor
    if result > INT64_MAX:
        raise AmountError(f"result exceeds int64: {result}")
    return result

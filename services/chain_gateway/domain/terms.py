"""What the backend key refuses to sign in quotes and vouchers, whoever asks: a last check, not the pricing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.units import BPS, Tier, Token

MAX_QUOTE_BLOCKS: Final = 36
"""Highest value that the chain allows for `quote.valid-blocks`."""
MAX_VOUCHER_BLOCKS: Final = 1008
_MAX_STRIKE_BPS: Final = 20_000


@dataclass(frozen=True)
class Quote:
    """The terms of a quote that are checked. Prices `_usd_e8`, amounts in base units of the token."""

    tier: int
    token: int
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    btc_price_usd_e8: int
    stx_price_usd_e8: int
    premium_base_units: int
    quote_burn_height: int
    quote_expiration_burn_height: int
    expiration_burn_height: int


def check_quote(quote: Quote, tip_burn_height: int) -> None:
    """Returns if the terms make sense at this tip; InvalidArgument for terms that never do, FailedPrecondition for
    a quote out of its time."""
    _require(quote.tier in list(Tier), "terms.tier", "is not a tier")
    _require(
        quote.floor_price_usd_e8 < quote.strike_price_usd_e8, "terms.floor_price_usd_e8", "is not below the strike"
    )
    _require(
        quote.strike_price_usd_e8 * BPS <= quote.btc_price_usd_e8 * _MAX_STRIKE_BPS,
        "terms.strike_price_usd_e8",
        "is above twice the price",
    )
    _require(
        (quote.stx_price_usd_e8 > 0) == (quote.token == Token.STX),
        "terms.stx_price_usd_e8",
        "is set exactly for policies settled in STX",
    )
    _require(quote.premium_base_units > 0, "terms.premium_base_units", "is zero")
    valid = quote.quote_expiration_burn_height - quote.quote_burn_height
    _require(0 <= valid <= MAX_QUOTE_BLOCKS, "terms.quote_expiration_burn_height", "is not within a quote's life")
    _require(
        quote.expiration_burn_height > quote.quote_expiration_burn_height,
        "terms.expiration_burn_height",
        "is not after the quote's end",
    )
    if quote.quote_burn_height > tip_burn_height:
        raise FailedPrecondition("QUOTE_FROM_FUTURE", "the quote's burn height is above the tip")
    if quote.quote_expiration_burn_height < tip_burn_height:
        raise FailedPrecondition("QUOTE_EXPIRED", "the quote can no longer be paid")


def check_voucher(expiration_burn_height: int, tip_burn_height: int) -> None:
    """Returns if a voucher's last height makes sense at this tip; FailedPrecondition otherwise."""
    if not tip_burn_height <= expiration_burn_height <= tip_burn_height + MAX_VOUCHER_BLOCKS:
        raise FailedPrecondition("VOUCHER_EXPIRATION", "the voucher's last height has passed or lies too far ahead")


def _require(holds: bool, field: str, description: str) -> None:
    if not holds:
        raise InvalidArgument.of(field, description)

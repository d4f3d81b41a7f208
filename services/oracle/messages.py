"""What the oracle key signs, field by field, as the contracts take it."""

from __future__ import annotations

from services.oracle.domain.prices import Price, PriceStatus, unix_seconds

Message = dict[str, int | bytes | str]


def round_message(price: Price) -> Message:
    """A price round as the `oracle` contract takes it; ValueError for one that is not OK, which is never signed."""
    if price.status is not PriceStatus.OK or price.observe_time is None:
        raise ValueError(f"round {price.round} is {price.status}: never signed")
    return {
        "feed": price.feed.symbol,
        "round": price.round,
        "price-e8": price.price_usd_e8,
        "confidence-e8": price.confidence_usd_e8,
        "observed-at": unix_seconds(price.observe_time),
        "burn-height": price.burn_height,
    }


def activation_message(
    policy_id: str, number: int, btc_price_usd_e8: int, stx_price_usd_e8: int, observe_seconds: int, burn_height: int
) -> Message:
    """An activation's receipt as the `policy-registry` contract takes it; `policy_id` in hexadecimal."""
    return {
        "policy-id": bytes.fromhex(policy_id),
        "activation": number,
        "btc-price-e8": btc_price_usd_e8,
        "stx-price-e8": stx_price_usd_e8,
        "observed-at": observe_seconds,
        "burn-height": burn_height,
    }


def expiry_message(
    expiration_burn_height: int, btc_price_usd_e8: int, stx_price_usd_e8: int, observe_seconds: int
) -> Message:
    """An expiration height's receipt as the `policy-registry` contract takes it."""
    return {
        "expiration-burn-height": expiration_burn_height,
        "btc-price-e8": btc_price_usd_e8,
        "stx-price-e8": stx_price_usd_e8,
        "observed-at": observe_seconds,
    }

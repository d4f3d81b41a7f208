"""Messages of the API to the Clarity tuples that are signed and called with. InvalidArgument names the field."""

from __future__ import annotations

from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    parse_principal,
)
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import check_signature

FEED_NAMES: Final = {price_pb2.FEED_BTC_USD: "BTC/USD", price_pb2.FEED_STX_USD: "STX/USD"}
_TOKENS: Final = (money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC)


def uint(field: str, value: int, least: int = 0) -> UInt:
    """A number of the API as a uint."""
    if value < least:
        raise InvalidArgument.of(field, f"expected at least {least}")
    return UInt(value)


def account(field: str, text: str, contracts: Contracts) -> StandardPrincipal:
    """An account of this network."""
    try:
        found = parse_principal(text)
    except CodecError as error:
        raise InvalidArgument.of(field, str(error), "INVALID_PRINCIPAL") from error
    if not isinstance(found, StandardPrincipal) or found.address.is_mainnet != contracts.is_mainnet:
        raise InvalidArgument.of(field, f"expected an account of {contracts.network_name}", "INVALID_PRINCIPAL")
    return found


def identifier(collection: str, field: str, name: str) -> Buffer:
    """The id in a resource name as (buff 16)."""
    return Buffer(bytes.fromhex(parse_resource_name(collection, name, field)))


def signature(field: str, value: bytes) -> Buffer:
    """A signature R || S || V."""
    try:
        return Buffer(check_signature(value))
    except CodecError as error:
        raise InvalidArgument.of(field, str(error), "INVALID_SIGNATURE") from error


def token(field: str, value: int) -> UInt:
    """A token by its number."""
    if value not in _TOKENS:
        raise InvalidArgument.of(field, "expected TOKEN_STX or TOKEN_SBTC")
    return UInt(value)


def seconds(field: str, time: Timestamp) -> UInt:
    """A time in whole seconds, as the contracts and the signatures have it."""
    return uint(field, time.seconds, 1)


def feed_name(field: str, value: int) -> str:
    """The name of a feed as the oracle contract has it."""
    name = FEED_NAMES.get(value)  # type: ignore[call-overload]
    if name is None:
        raise InvalidArgument.of(field, "unknown feed")
    return str(name)


def price_round(field: str, message: price_pb2.PriceRound) -> TupleValue:
    """The message that a price round signs."""
    return TupleValue(
        {
            "feed": StringAscii(feed_name(f"{field}.feed", message.feed)),
            "round": uint(f"{field}.round", message.round),
            "price-e8": uint(f"{field}.price_usd_e8", message.price_usd_e8, 1),
            "confidence-e8": uint(f"{field}.confidence_usd_e8", message.confidence_usd_e8),
            "observed-at": seconds(f"{field}.observe_time", message.observe_time),
            "burn-height": uint(f"{field}.burn_height", message.burn_height),
        }
    )


def activation_receipt(field: str, message: price_pb2.SettlementReceipt) -> TupleValue:
    """The message that the receipt of an activation signs."""
    if message.WhichOneof("purpose") != "activation":
        raise InvalidArgument.of(f"{field}.purpose", "expected the receipt of an activation")
    purpose = message.activation
    return TupleValue(
        {
            "policy-id": identifier("policies", f"{field}.activation.policy", purpose.policy),
            "activation": uint(f"{field}.activation.activation_number", purpose.activation_number, 1),
            "btc-price-e8": uint(f"{field}.btc_price_usd_e8", message.btc_price_usd_e8, 1),
            "stx-price-e8": uint(f"{field}.stx_price_usd_e8", message.stx_price_usd_e8, 1),
            "observed-at": seconds(f"{field}.observe_time", message.observe_time),
            "burn-height": uint(f"{field}.burn_height", message.burn_height),
        }
    )


def expiry_receipt(field: str, message: price_pb2.SettlementReceipt) -> TupleValue:
    """The message that the receipt of an expiration height signs."""
    if message.WhichOneof("purpose") != "expiry":
        raise InvalidArgument.of(f"{field}.purpose", "expected the receipt of an expiration height")
    height = message.expiry.expiration_burn_height
    return TupleValue(
        {
            "expiration-burn-height": uint(f"{field}.expiry.expiration_burn_height", height, 1),
            "btc-price-e8": uint(f"{field}.btc_price_usd_e8", message.btc_price_usd_e8, 1),
            "stx-price-e8": uint(f"{field}.stx_price_usd_e8", message.stx_price_usd_e8, 1),
            "observed-at": seconds(f"{field}.observe_time", message.observe_time),
        }
    )


def quote(field: str, terms: transaction_pb2.QuoteTerms, contracts: Contracts) -> TupleValue:
    """The message that a quote signs."""
    return TupleValue(
        {
            "policy-id": identifier("policies", f"{field}.policy", terms.policy),
            "holder": account(f"{field}.holder_principal", terms.holder_principal, contracts),
            "tier": uint(f"{field}.tier", terms.tier, 1),
            "token": token(f"{field}.token", terms.token),
            "amount-sats": uint(f"{field}.protected_amount_sats", terms.protected_amount_sats, 1),
            "strike-price-e8": uint(f"{field}.strike_price_usd_e8", terms.strike_price_usd_e8, 1),
            "floor-price-e8": uint(f"{field}.floor_price_usd_e8", terms.floor_price_usd_e8, 1),
            "btc-price-e8": uint(f"{field}.btc_price_usd_e8", terms.btc_price_usd_e8, 1),
            "stx-price-e8": uint(f"{field}.stx_price_usd_e8", terms.stx_price_usd_e8),
            "premium": uint(f"{field}.premium_base_units", terms.premium_base_units),
            "fee": uint(f"{field}.fee_base_units", terms.fee_base_units),
            "auto-settle": Bool(terms.auto_settle),
            "quote-burn-height": uint(f"{field}.quote_burn_height", terms.quote_burn_height),
            "quote-expiry-burn-height": uint(
                f"{field}.quote_expiration_burn_height", terms.quote_expiration_burn_height
            ),
            "expiration-burn-height": uint(f"{field}.expiration_burn_height", terms.expiration_burn_height),
        }
    )


def kept_tier(field: str, tier: int) -> int | None:
    """The tier that is kept with a voucher; None for one that does not say it."""
    if tier not in money_pb2.Tier.values():
        raise InvalidArgument.of(field, "is no tier")
    return tier or None


def voucher(field: str, terms: pb.VoucherTerms, contracts: Contracts) -> TupleValue:
    """The message that a voucher signs."""
    return TupleValue(
        {
            "voucher-id": identifier("withdrawals", f"{field}.withdrawal", terms.withdrawal),
            "provider": account(f"{field}.provider_principal", terms.provider_principal, contracts),
            "token": token(f"{field}.amount.token", terms.amount.token),
            "amount": uint(f"{field}.amount.base_units", terms.amount.base_units, 1),
            "expiry-burn-height": uint(f"{field}.expiration_burn_height", terms.expiration_burn_height),
        }
    )

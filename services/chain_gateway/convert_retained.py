"""Rows of what was signed and asked for to messages of the API."""

from __future__ import annotations

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.ids import resource_name
from services.chain_gateway import clarity_fields as read
from services.chain_gateway.convert_event import quote_terms, timestamp, token_amount
from services.chain_gateway.stacks.clarity import deserialize
from services.chain_gateway.tables import Intent, SignedQuote, SignedVoucher


def signed_quote(row: SignedQuote) -> pb.SignedQuote:
    """A quote with its terms, read from the bytes that were signed."""
    message = pb.SignedQuote(signature=row.signature, create_time=timestamp(row.create_time))
    quote_terms(message.terms, read.tuple_of(deserialize(row.terms)))
    return message


def signed_voucher(row: SignedVoucher) -> pb.SignedVoucher:
    """A voucher with its terms, read from the bytes that were signed, and its tier."""
    message = pb.SignedVoucher(signature=row.signature, create_time=timestamp(row.create_time))
    terms, value = message.terms, read.tuple_of(deserialize(row.terms))
    terms.withdrawal = resource_name("withdrawals", read.identifier(value, "voucher-id"))
    terms.provider_principal = read.principal(value, "provider")
    terms.amount.CopyFrom(token_amount(value, "amount"))
    terms.expiration_burn_height = read.uint(value, "expiry-burn-height")
    terms.tier = money_pb2.Tier.ValueType(row.tier or money_pb2.TIER_UNSPECIFIED)
    return message


def settlement_intent(row: Intent) -> pb.SettlementIntent:
    """A settlement with the call as it was asked for."""
    return pb.SettlementIntent(
        name=resource_name("intents", row.id),
        key=row.key,
        state=pb.IntentState.ValueType(row.state),
        call=pb.ContractCall.FromString(row.call).settle_policy,
        create_time=timestamp(row.create_time),
    )

"""What is about to be signed, in the terms of the signing policy: read from the bytes, not from who asks for them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.errors import InvalidArgument, PermissionDenied
from kernel.units import AmountError, Token, max_payout
from services.chain_gateway import clarity_fields as read
from services.chain_gateway.contract_calls import Call
from services.chain_gateway.contracts import VAULT, Contracts
from services.chain_gateway.domain import signing_policy
from services.chain_gateway.domain.signing_policy import FILLER, QUOTE, SPONSORED, VOUCHER, Request, Value
from services.chain_gateway.stacks.clarity import ClarityValue, ListValue, TupleValue, serialize
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.payload import TokenTransfer, write_payload
from services.chain_gateway.stacks.post_condition import (
    FtPostCondition,
    FungibleCode,
    PostCondition,
    StxPostCondition,
)

_BOUNDED = (FungibleCode.EQUAL, FungibleCode.LESS, FungibleCode.LESS_OR_EQUAL)
_PRICE_FACTS = {"BTC/USD": "btc_price_usd_e8", "STX/USD": "stx_price_usd_e8"}


def call_request(contracts: Contracts, subject: str, call: Call, market_time: dt.datetime) -> Request:
    """A contract call. PermissionDenied when it is not of our contracts, or not one whose arguments are understood."""
    if call.payload.address != contracts.deployer:
        raise PermissionDenied("CALL_NOT_ALLOWED", "the backend key calls our own contracts only")
    what = f"{call.payload.contract_name}.{call.payload.function_name}"
    try:
        facts = _facts(what, call.payload.arguments, market_time)
    except (CodecError, KeyError, ValueError) as error:
        raise PermissionDenied("CALL_NOT_ALLOWED", f"the arguments of {what} are not its own") from error
    content = _sha256(call.payload_bytes, *call.post_condition_bytes)
    return Request(what, subject, content, _leaves_vault(contracts, call.post_conditions), facts)


def _sha256(*parts: bytes) -> bytes:
    """Of parts that each say where they end."""
    return hashlib.sha256(b"".join(parts)).digest()


def _facts(what: str, arguments: Sequence[ClarityValue], market_time: dt.datetime) -> dict[str, int]:
    match what:
        case signing_policy.PUBLISH:
            signed_round, _ = arguments
            fields = read.tuple_of(signed_round)
            return {
                _PRICE_FACTS[read.text(fields, "feed")]: read.uint(fields, "price-e8"),
                "round_ahead_seconds": max(0, read.uint(fields, "round") - int(market_time.timestamp())),
            }
        case signing_policy.SETTLE:
            _, receipt, *_ = arguments
            return {**_prices(receipt), "activation": read.uint(read.tuple_of(receipt), "activation")}
        case signing_policy.EXPIRE:
            ids, receipt, _ = arguments
            if not isinstance(ids, ListValue):
                raise CodecError("expected a list")
            return {**_prices(receipt), "ids": len(ids.items)}
        case _:
            raise PermissionDenied("CALL_NOT_ALLOWED", f"the backend key never calls {what}")


def _prices(receipt: ClarityValue) -> dict[str, int]:
    fields = read.tuple_of(receipt)
    return {
        "btc_price_usd_e8": read.uint(fields, "btc-price-e8"),
        "stx_price_usd_e8": read.uint(fields, "stx-price-e8"),
    }


def _leaves_vault(contracts: Contracts, conditions: Sequence[PostCondition]) -> Value:
    """The most that the vault can lose; PermissionDenied when nothing bounds it, or when another account pays."""
    total = Value()
    for condition in conditions:
        if condition.principal != contracts.principal(VAULT) or condition.code not in _BOUNDED:
            raise PermissionDenied("CALL_NOT_ALLOWED", "a post-condition does not bound what the vault pays")
        match condition:
            case StxPostCondition():
                total += Value(ustx=condition.amount_ustx)
            case FtPostCondition() if condition.asset == contracts.sbtc:
                total += Value(sats=condition.amount)
            case _:
                raise PermissionDenied("CALL_NOT_ALLOWED", "a post-condition is about something else than STX and sBTC")
    return total


def quote_request(policy_id: str, message: TupleValue, terms: transaction_pb2.QuoteTerms, haircut_bps: int) -> Request:
    """A quote; its value is the policy's largest payout with its tier's haircut, as the contract computes it."""
    token = Token(terms.token)
    try:
        payout = max_payout(
            token,
            terms.protected_amount_sats,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            terms.stx_price_usd_e8,
            haircut_bps,
        )
    except AmountError as error:
        raise InvalidArgument.of("terms", str(error)) from error
    facts = {
        "amount_sats": terms.protected_amount_sats,
        "duration_blocks": terms.expiration_burn_height - terms.quote_burn_height,
    }
    return Request(QUOTE, f"policies/{policy_id}", _sha256(serialize(message)), _of(token, payout), facts)


def voucher_request(withdrawal_id: str, message: TupleValue, terms: pb.VoucherTerms, tip_burn_height: int) -> Request:
    """A voucher; its value is its amount."""
    facts = {"valid_blocks": terms.expiration_burn_height - tip_burn_height}
    value = _of(Token(terms.amount.token), terms.amount.base_units)
    return Request(VOUCHER, f"withdrawals/{withdrawal_id}", _sha256(serialize(message)), value, facts)


def sponsored_request(subject: str, origin_signed: bytes, fee_cap_ustx: int) -> Request:
    """The fee of a user's transaction, which pays for nothing but blocks: so its value is the most that it may be."""
    return Request(SPONSORED, subject, _sha256(origin_signed), Value(ustx=fee_cap_ustx))


def filler_request(address: str, nonce: int, payload: TokenTransfer) -> Request:
    """The transfer that only uses a nonce."""
    content = _sha256(write_payload(payload))
    return Request(FILLER, f"fillers/{address}/{nonce}", content, Value(ustx=payload.amount_ustx))


def _of(token: Token, base_units: int) -> Value:
    return Value(ustx=base_units) if token is Token.STX else Value(sats=base_units)

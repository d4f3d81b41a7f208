"""What wallets and thieves of a key try past our services, each under the outcome that it must have.

A key is the contract's error, or the node's word; what follows a `:` only tells cases of one outcome apart.
"""

from __future__ import annotations

from typing import Any, Final

from bithedge.policy.v1 import policy_pb2
from bithedge.type.v1 import price_pb2

from deploy.demo.people import Person
from services.chain_gateway.stacks.clarity import ClarityValue, UInt
from services.chain_gateway.stacks.signer import KeySigner
from tests.e2e.refusal_attempts import (
    REGISTRY,
    VAULT,
    changed,
    collects,
    deposits,
    expires_abandoned,
    flipped,
    identifier,
    message_of,
    number,
    others_powers,
    pays,
    receipt_of,
    requests_activation,
    settles,
    signature_of,
)
from tests.e2e.refusal_scene import CHAIN_ID, Attempt
from tests.e2e.refusal_stage import Stage

Cases = dict[str, Attempt]

# Terms that the policy service refuses, each under its reason.
TERMS: Final[dict[str, dict[str, int]]] = {
    "INVALID_TERMS:no amount": {"protected_amount_sats": 0},
    "INVALID_TERMS:negative amount": {"protected_amount_sats": -1},
    "INVALID_TERMS:no token": {"settlement_token": 0},
    "INVALID_TERMS:unknown token": {"settlement_token": 9},
    "INVALID_TERMS:negative strike": {"strike_price_usd_e8": -1},
    "STRIKE_OUT_OF_BOUNDS:high": {"strike_price_usd_e8": 2_000_000_000_000, "floor_price_usd_e8": 1_200_000_000_000},
    "STRIKE_OUT_OF_BOUNDS:low": {"strike_price_usd_e8": 200_000_000_000, "floor_price_usd_e8": 150_000_000_000},
    "FLOOR_OUT_OF_BOUNDS:low": {"floor_price_usd_e8": 1},
    "DURATION_OUT_OF_BOUNDS:short": {"duration_blocks": 17},
    "AMOUNT_OUT_OF_RANGE:huge": {"protected_amount_sats": 2**62},
}


def _forged_quote(stage: Stage, changes: dict[str, Any], chain_id: int = CHAIN_ID) -> Attempt:
    """The open quote with other terms, signed with the stolen backend key."""
    message = changed(message_of(stage.quoted.prepared_transaction), changes)
    return pays(stage.holder, message, stage.sign(stage.backend, "bithedge-quote", REGISTRY, message, chain_id))


def bad_terms(stage: Stage) -> Cases:
    """Quotes out of bounds, for nothing, or for another time, though the backend signed them."""
    quote = message_of(stage.quoted.prepared_transaction)
    made, spot = number(quote, "quote-burn-height"), number(quote, "btc-price-e8")
    changes: dict[str, dict[str, Any]] = {
        "(err u1012)": {"strike-price-e8": 2 * spot, "floor-price-e8": spot},
        "(err u1013)": {"floor-price-e8": 1},
        "(err u1014)": {"expiration-burn-height": made + 17},
        "(err u1004)": {"tier": 4},
        "(err u3003)": {"token": 3},
        "(err u3004)": {"amount-sats": 0},
        "(err u3006)": {"quote-burn-height": made + 1},
        "(err u3007)": {"quote-burn-height": made - 3, "quote-expiry-burn-height": made - 1},
        "(err u3008)": {"quote-expiry-burn-height": made + 7},
        "(err u3012)": {"premium": 1},
        "(err u2010)": {"btc-price-e8": 2 * spot},
    }
    return {outcome: _forged_quote(stage, change) for outcome, change in changes.items()}


def bad_deposits(stage: Stage) -> Cases:
    """Of nothing, of more than there is, of an unknown token, into an unknown tier."""
    return {
        "(err u4004)": deposits(stage.provider, 3, 1, UInt(5)),
        "(err u4005)": deposits(stage.provider, 2, 4, UInt(5)),
        "(err u4006)": deposits(stage.provider, 2, 1, UInt(0)),
        "(err u4007)": deposits(stage.provider, 2, 1, UInt(10**15)),
    }


def late_payment(stage: Stage) -> Cases:
    """A genuine quote after its last height."""
    prepared = stage.late.prepared_transaction
    return {"(err u3007)": pays(stage.holder, message_of(prepared), signature_of(prepared))}


def bad_payments(stage: Stage) -> Cases:
    """The open quote by another wallet, for another amount, tampered with, of another chain; a paid one again."""
    prepared, paid = stage.quoted.prepared_transaction, stage.settled.prepared_transaction
    quote, signature = message_of(prepared), signature_of(prepared)
    cheaper = changed(quote, {"premium": number(quote, "premium") - 1})
    (condition,) = prepared.post_conditions
    less = condition[:-8] + (int.from_bytes(condition[-8:], "big") - 1).to_bytes(8, "big")
    return {
        "(err u3002)": pays(stage.stranger, quote, signature),
        "(err u3009):amount": pays(stage.holder, cheaper, signature),
        "(err u3009):bit": pays(stage.holder, quote, flipped(signature, 9)),
        "(err u3009):chain": _forged_quote(stage, {}, chain_id=1),
        "abort_by_post_condition": pays(stage.holder, quote, signature, less),
        "(err u3005)": pays(stage.holder, message_of(paid), signature_of(paid)),
    }


def bad_receipts(stage: Stage, published: price_pb2.PriceRound) -> Cases:
    """Of another policy, height, key or price; a second settlement; a good one in a stranger's hands."""
    genuine, signature = receipt_of(stage.settled), stage.settled.activation_receipt.signature
    holder, active, number_ = stage.holder, stage.active, published.round
    now: dict[str, int | ClarityValue] = {
        "policy-id": identifier(active.name),
        "burn-height": stage.moment.burn_height,
        "btc-price-e8": published.price_usd_e8,
    }

    def forged(
        who: Person, changes: dict[str, Any], policy: policy_pb2.Policy = active, key: KeySigner = stage.oracle
    ) -> Attempt:
        receipt = changed(genuine, {**now, "policy-id": identifier(policy.name), **changes})
        signed = stage.sign(key, "bithedge-activation-receipt", REGISTRY, receipt)
        return settles(who, policy, receipt, signed, number_)

    after = stage.overdue.expiration_burn_height + 1
    return {
        "(err u3016)": settles(holder, active, genuine, signature, number_),
        "(err u3021):moved": settles(holder, active, changed(genuine, now), signature, number_),
        "(err u3021):backend": forged(holder, {}, key=stage.backend),
        "(err u3014)": settles(holder, stage.settled, genuine, signature, number_),
        "(err u3015)": forged(stage.stranger, {}),
        "(err u3017)": forged(holder, {"activation": 0}),
        "(err u3018)": forged(holder, {"burn-height": after}, stage.overdue),
        "(err u3019)": forged(holder, {"burn-height": stage.moment.burn_height + 9}),
        "(err u2013)": forged(holder, {"btc-price-e8": published.price_usd_e8 // 2}),
    }


def bad_activations(stage: Stage) -> Cases:
    """Requests on chain: after expiration, after the settlement, by another wallet; and abandoned far too early."""
    return {
        "(err u3010)": requests_activation(stage.holder, stage.overdue),
        "(err u3014)": requests_activation(stage.holder, stage.settled),
        "(err u3015)": requests_activation(stage.stranger, stage.active),
        # Answers a list in which both are refused.
        "success": expires_abandoned(stage.stranger, stage.active, stage.overdue),
    }


def bad_vouchers(stage: Stage, free: int) -> Cases:
    """Used, of another, tampered with; and with the stolen backend key: too much, too late, of nothing."""
    used, ready = stage.used.prepared_transaction, stage.ready.prepared_transaction
    voucher, signature = message_of(ready), signature_of(ready)

    def forged(changes: dict[str, Any]) -> Attempt:
        message = changed(voucher, changes)
        return collects(stage.provider, message, stage.sign(stage.backend, "bithedge-voucher", VAULT, message))

    return {
        "(err u4015)": collects(stage.provider, message_of(used), signature_of(used)),
        "(err u4013)": collects(stage.stranger, voucher, signature),
        "(err u4016):amount": collects(stage.provider, changed(voucher, {"amount": 1}), signature),
        "(err u4016):bit": collects(stage.provider, voucher, flipped(signature, 9)),
        "(err u4010)": forged({"amount": free + 1}),
        "(err u4006)": forged({"amount": 0}),
        "(err u4004)": forged({"token": 3}),
        "(err u4014)": forged({"expiry-burn-height": stage.moment.burn_height - 1}),
    }


def powers(stage: Stage) -> Cases:
    """What belongs to backend, admin and registry, in a stranger's hands."""
    return others_powers(stage.stranger, stage.active)

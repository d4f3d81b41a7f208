"""Calls of the contracts as wallets and thieves of keys send them, made from what was honestly signed."""

from __future__ import annotations

from typing import Final

from bithedge.policy.v1 import policy_pb2
from bithedge.type.v1 import transaction_pb2

from deploy.demo.people import Person
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    ListValue,
    StringAscii,
    TupleValue,
    UInt,
    deserialize,
    parse_principal,
)
from tests.e2e.refusal_scene import Attempt

REGISTRY: Final = "policy-registry"
VAULT: Final = "liquidity-pool-vault"
ORACLE: Final = "oracle"
PARAMETER: Final = "parameter"


def message_of(prepared: transaction_pb2.PreparedTransaction) -> TupleValue:
    """The quote or voucher in what the gateway prepared."""
    message = deserialize(prepared.arguments[0])
    assert isinstance(message, TupleValue)
    return message


def signature_of(prepared: transaction_pb2.PreparedTransaction) -> bytes:
    """The backend's signature in what the gateway prepared."""
    signature = deserialize(prepared.arguments[1])
    assert isinstance(signature, Buffer)
    return signature.value


def number(message: TupleValue, key: str) -> int:
    """One number of a message."""
    value = message[key]
    assert isinstance(value, UInt)
    return value.value


def changed(message: TupleValue, changes: dict[str, int | ClarityValue]) -> TupleValue:
    """The message with some fields changed; an int is a uint."""
    values = {key: UInt(value) if isinstance(value, int) else value for key, value in changes.items()}
    return TupleValue({**message.fields, **values})


def flipped(data: bytes, at: int) -> bytes:
    """One bit of one byte is another."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def pays(who: Person, quote: TupleValue, signature: bytes, *conditions: bytes) -> Attempt:
    """`create-policy-entry`; without conditions everything may move."""
    arguments = (quote, Buffer(signature))
    return Attempt(who, REGISTRY, "create-policy-entry", arguments, conditions or None)


def deposits(who: Person, token: int, tier: int, amount: ClarityValue) -> Attempt:
    """`deposit-to-pool`."""
    return Attempt(who, VAULT, "deposit-to-pool", (UInt(token), UInt(tier), amount))


def collects(who: Person, voucher: TupleValue, signature: bytes) -> Attempt:
    """`withdraw-from-pool`."""
    return Attempt(who, VAULT, "withdraw-from-pool", (voucher, Buffer(signature)))


def receipt_of(policy: policy_pb2.Policy) -> TupleValue:
    """The message of the receipt that the policy was settled on."""
    receipt = policy.activation_receipt
    return TupleValue(
        {
            "policy-id": identifier(receipt.activation.policy),
            "activation": UInt(receipt.activation.activation_number),
            "btc-price-e8": UInt(receipt.btc_price_usd_e8),
            "stx-price-e8": UInt(receipt.stx_price_usd_e8),
            "observed-at": UInt(receipt.observe_time.seconds),
            "burn-height": UInt(receipt.burn_height),
        }
    )


def identifier(name: str) -> Buffer:
    """The 16 bytes in `policies/{id}`."""
    return Buffer(bytes.fromhex(name.rpartition("/")[2]))


def settles(who: Person, policy: policy_pb2.Policy, receipt: TupleValue, signature: bytes, btc_round: int) -> Attempt:
    """`settle-policy`."""
    arguments = (UInt(policy.onchain_id), receipt, Buffer(signature), UInt(btc_round), UInt(0))
    return Attempt(who, REGISTRY, "settle-policy", arguments)


def requests_activation(who: Person, policy: policy_pb2.Policy) -> Attempt:
    """`request-activation`."""
    return Attempt(who, REGISTRY, "request-activation", (UInt(policy.onchain_id),))


def expires_abandoned(who: Person, *policies: policy_pb2.Policy) -> Attempt:
    """`expire-abandoned-policies`."""
    ids = ListValue(tuple(UInt(policy.onchain_id) for policy in policies))
    return Attempt(who, REGISTRY, "expire-abandoned-policies", (ids,))


def others_powers(who: Person, policy: policy_pb2.Policy) -> dict[str, Attempt]:
    """What only a backend, the admin or the registry may call, by a contract error of its own."""
    receipt = TupleValue(
        {
            "expiration-burn-height": UInt(policy.expiration_burn_height),
            "btc-price-e8": UInt(1),
            "stx-price-e8": UInt(1),
            "observed-at": UInt(1),
        }
    )
    ids = ListValue((UInt(policy.onchain_id),))
    own = parse_principal(who.principal)
    name = "creation.min-rate-bps"
    return {
        "(err u3015)": Attempt(who, REGISTRY, "expire-policies", (ids, receipt, Buffer(bytes(65)))),
        "(err u4001)": Attempt(who, VAULT, "pay-policy", (UInt(2), own, UInt(1), UInt(1))),
        "(err u4017)": Attempt(who, VAULT, "withdraw-fees", (UInt(2), UInt(1), own)),
        "(err u1001)": Attempt(who, PARAMETER, "set-parameter", (StringAscii(name), UInt(0))),
    }

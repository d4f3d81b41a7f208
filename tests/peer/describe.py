"""Values, payloads and post-conditions as the peer is told of them: the notation of the recorded vectors."""

from __future__ import annotations

from typing import Any

from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    Int,
    ListValue,
    NoneValue,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
)
from services.chain_gateway.stacks.payload import ContractCall, ContractDeploy, Payload, TokenTransfer
from services.chain_gateway.stacks.post_condition import (
    FtPostCondition,
    FungibleCode,
    NftPostCondition,
    NonFungibleCode,
    Origin,
    PostCondition,
    PoxCode,
    PoxPostCondition,
    StakingPostCondition,
    StxPostCondition,
)

FUNGIBLE = {
    FungibleCode.EQUAL: "eq",
    FungibleCode.GREATER: "gt",
    FungibleCode.GREATER_OR_EQUAL: "gte",
    FungibleCode.LESS: "lt",
    FungibleCode.LESS_OR_EQUAL: "lte",
}
NON_FUNGIBLE = {
    NonFungibleCode.SENT: "sent",
    NonFungibleCode.NOT_SENT: "not-sent",
    NonFungibleCode.MAYBE_SENT: "maybe-sent",
}
POX = {
    PoxCode.WILL_NOT_PERFORM: "will-not-perform",
    PoxCode.MAY_PERFORM: "may-perform",
    PoxCode.WILL_PERFORM: "will-perform",
}


def value(described: ClarityValue) -> dict[str, Any]:
    """A Clarity value."""
    match described:
        case Int(number):
            return {"type": "int", "value": str(number)}
        case UInt(number):
            return {"type": "uint", "value": str(number)}
        case Bool(flag):
            return {"type": "bool", "value": flag}
        case Buffer(data):
            return {"type": "buffer", "value": data.hex()}
        case StringAscii(text):
            return {"type": "string-ascii", "value": text}
        case StringUtf8(text):
            return {"type": "string-utf8", "value": text}
        case StandardPrincipal() | ContractPrincipal():
            return {"type": "principal", "value": described.text}
        case NoneValue():
            return {"type": "none"}
        case _:
            return _container(described)


def _container(described: ClarityValue) -> dict[str, Any]:
    match described:
        case Some(inner):
            return {"type": "some", "value": value(inner)}
        case ResponseOk(inner):
            return {"type": "ok", "value": value(inner)}
        case ResponseErr(inner):
            return {"type": "err", "value": value(inner)}
        case ListValue(items):
            return {"type": "list", "value": [value(item) for item in items]}
        case TupleValue(fields):
            return {"type": "tuple", "value": [[name, value(item)] for name, item in fields.items()]}
        case _:
            raise TypeError(f"not a Clarity value: {described!r}")


def payload(described: Payload) -> tuple[str, dict[str, Any]]:
    """The kind of a payload and its fields."""
    match described:
        case TokenTransfer():
            memo = described.memo.decode("utf-8")
            recipient = described.recipient.text
            return "stx-transfer", {"recipient": recipient, "amount": str(described.amount_ustx), "memo": memo}
        case ContractCall():
            return "contract-call", {
                "contract_address": described.address.text,
                "contract_name": described.contract_name,
                "function_name": described.function_name,
                "args": [value(argument) for argument in described.arguments],
            }
        case ContractDeploy():
            return "contract-deploy", {
                "contract_name": described.contract_name,
                "code_body": described.code,
                "clarity_version": described.clarity_version,
            }


def post_condition(described: PostCondition) -> dict[str, Any]:
    """A post-condition."""
    owner = "origin" if isinstance(described.principal, Origin) else described.principal.text
    match described:
        case StxPostCondition():
            amount, code = str(described.amount_ustx), FUNGIBLE[described.code]
            return {"type": "stx-postcondition", "address": owner, "condition": code, "amount": amount}
        case FtPostCondition():
            fields = {"amount": str(described.amount), "asset": described.asset.text}
            return {"type": "ft-postcondition", "address": owner, "condition": FUNGIBLE[described.code], **fields}
        case NftPostCondition():
            item = {"asset": described.asset.text, "assetId": value(described.item)}
            return {"type": "nft-postcondition", "address": owner, "condition": NON_FUNGIBLE[described.code], **item}
        case StakingPostCondition():
            amount, code = str(described.amount_ustx), FUNGIBLE[described.code]
            return {"type": "staking-postcondition", "address": owner, "condition": code, "amount": amount}
        case PoxPostCondition():
            return {"type": "pox-postcondition", "address": owner, "condition": POX[described.code]}

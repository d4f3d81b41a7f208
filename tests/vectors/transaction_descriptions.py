"""Payloads and post-conditions as the vectors describe them."""

from __future__ import annotations

from typing import Any

from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import Principal, parse_principal
from services.chain_gateway.stacks.payload import ContractCall, ContractDeploy, Payload, TokenTransfer
from services.chain_gateway.stacks.post_condition import (
    ORIGIN,
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
    parse_asset,
)
from services.chain_gateway.stacks.transaction import MAINNET, TESTNET
from tests.vectors.descriptions import to_value

NETWORKS = {"mainnet": MAINNET, "testnet": TESTNET}
_FUNGIBLE = {
    "eq": FungibleCode.EQUAL,
    "gt": FungibleCode.GREATER,
    "gte": FungibleCode.GREATER_OR_EQUAL,
    "lt": FungibleCode.LESS,
    "lte": FungibleCode.LESS_OR_EQUAL,
}
_NON_FUNGIBLE = {
    "sent": NonFungibleCode.SENT,
    "not-sent": NonFungibleCode.NOT_SENT,
    "maybe-sent": NonFungibleCode.MAYBE_SENT,
}
_POX = {
    "will-not-perform": PoxCode.WILL_NOT_PERFORM,
    "may-perform": PoxCode.MAY_PERFORM,
    "will-perform": PoxCode.WILL_PERFORM,
}


def to_payload(kind: str, description: dict[str, Any]) -> Payload:
    """The payload of a kind of transaction."""
    match kind:
        case "contract-call":
            return to_call(description)
        case "stx-transfer":
            return to_transfer(description)
        case "contract-deploy":
            return _to_deploy(description)
        case _:
            raise ValueError(f"unknown kind of transaction {kind!r}")


def to_call(description: dict[str, Any]) -> ContractCall:
    """A contract call."""
    _only(description, "contract_address", "contract_name", "function_name", "args")
    return ContractCall(
        parse_address(description["contract_address"]),
        description["contract_name"],
        description["function_name"],
        tuple(map(to_value, description["args"])),
    )


def to_transfer(description: dict[str, Any]) -> TokenTransfer:
    """A transfer of STX."""
    _only(description, "recipient", "amount", "memo")
    recipient = parse_principal(description["recipient"])
    return TokenTransfer(recipient, int(description["amount"]), description["memo"].encode("utf-8"))


def to_post_condition(description: dict[str, Any]) -> PostCondition:
    """A post-condition of any kind."""
    principal = _to_principal(description["address"])
    kind, condition = description["type"], description["condition"]
    if kind == "stx-postcondition":
        _only(description, "type", "address", "condition", "amount")
        return StxPostCondition(principal, _FUNGIBLE[condition], int(description["amount"]))
    if kind == "staking-postcondition":
        _only(description, "type", "address", "condition", "amount")
        return StakingPostCondition(principal, _FUNGIBLE[condition], int(description["amount"]))
    if kind == "pox-postcondition":
        _only(description, "type", "address", "condition")
        return PoxPostCondition(principal, _POX[condition])
    return _to_asset_condition(kind, principal, description)


def _to_asset_condition(kind: str, principal: Principal | Origin, description: dict[str, Any]) -> PostCondition:
    asset, condition = parse_asset(description["asset"]), description["condition"]
    if kind == "ft-postcondition":
        _only(description, "type", "address", "condition", "amount", "asset")
        return FtPostCondition(principal, asset, _FUNGIBLE[condition], int(description["amount"]))
    if kind != "nft-postcondition":
        raise ValueError(f"unknown post-condition {kind!r}")
    _only(description, "type", "address", "condition", "asset", "assetId")
    return NftPostCondition(principal, asset, to_value(description["assetId"]), _NON_FUNGIBLE[condition])


def _to_deploy(description: dict[str, Any]) -> ContractDeploy:
    _only(description, "contract_name", "code_body", "clarity_version")
    return ContractDeploy(description["contract_name"], description["code_body"], description["clarity_version"])


def _to_principal(text: str) -> Principal | Origin:
    return ORIGIN if text == "origin" else parse_principal(text)


def _only(description: dict[str, Any], *names: str) -> None:
    """Refuses a description with a field that would be passed over."""
    unknown = set(description) - set(names)
    if unknown:
        raise ValueError(f"unknown fields in a description: {sorted(unknown)}")

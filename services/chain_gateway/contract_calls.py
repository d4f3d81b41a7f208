"""The contract calls of the backend and of wallets: payload and Deny-mode post-conditions, per function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.errors import InvalidArgument
from kernel.units import INT64_MAX
from services.chain_gateway import convert_terms as terms
from services.chain_gateway.contracts import ORACLE, REGISTRY, VAULT, Contracts
from services.chain_gateway.domain import contract_call
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    ListValue,
    Principal,
    StandardPrincipal,
    UInt,
)
from services.chain_gateway.stacks.payload import ContractCall, write_payload
from services.chain_gateway.stacks.post_condition import (
    FtPostCondition,
    FungibleCode,
    PostCondition,
    StxPostCondition,
    write_post_condition,
)

MAX_EXPIRY_BATCH: Final = 200


@dataclass(frozen=True)
class Call:
    """A contract call with what it may move."""

    payload: ContractCall
    post_conditions: tuple[PostCondition, ...]

    @property
    def payload_bytes(self) -> bytes:
        """The payload as in a transaction."""
        return write_payload(self.payload)

    @property
    def post_condition_bytes(self) -> list[bytes]:
        """Each post-condition as in a transaction."""
        return [write_post_condition(condition) for condition in self.post_conditions]


def _call(contracts: Contracts, contract: str, function: str, *arguments: ClarityValue) -> ContractCall:
    return ContractCall(contracts.deployer, contract, function, arguments)


def moves(
    contracts: Contracts, who: Principal, code: FungibleCode, token: int, amount: int
) -> StxPostCondition | FtPostCondition:
    """A post-condition on what `who` sends of a token."""
    if token == money_pb2.TOKEN_STX:
        return StxPostCondition(who, code, amount)
    return FtPostCondition(who, contracts.sbtc, code, amount)


def _vault_pays(contracts: Contracts, amounts: Iterable[money_pb2.TokenAmount]) -> tuple[PostCondition, ...]:
    vault = contracts.principal(VAULT)
    totals: dict[int, int] = {}
    for amount in amounts:
        token = terms.token("max_payout.token", amount.token).value
        value = terms.uint("max_payout.base_units", amount.base_units).value
        totals[token] = totals.get(token, 0) + value
        if totals[token] > INT64_MAX:
            raise InvalidArgument.of("max_payout.base_units", f"together expected at most {INT64_MAX}")
    return tuple(
        moves(contracts, vault, FungibleCode.LESS_OR_EQUAL, token, total) for token, total in sorted(totals.items())
    )


def backend_call(contracts: Contracts, message: pb.ContractCall) -> tuple[contract_call.AllowedCall, Call]:
    """What an intent calls; InvalidArgument when it is not one of the three functions or malformed."""
    match message.WhichOneof("call"):
        case "publish_price":
            return contract_call.PUBLISH, _publish_price(contracts, message.publish_price)
        case "settle_policy":
            return contract_call.SETTLE, _settle_policy(contracts, message.settle_policy, "call.settle_policy")
        case "expire_policies":
            return contract_call.EXPIRE, _expire_policies(contracts, message.expire_policies)
        case _:
            raise InvalidArgument.of("call", "is required")


def _publish_price(contracts: Contracts, message: pb.PublishPriceCall) -> Call:
    field = "call.publish_price.round"
    signature = terms.signature(f"{field}.signature", message.round.signature)
    return Call(_call(contracts, ORACLE, "publish-price", terms.price_round(field, message.round), signature), ())


def _settle_policy(contracts: Contracts, message: pb.SettlePolicyCall, field: str) -> Call:
    payload = _call(
        contracts,
        REGISTRY,
        "settle-policy",
        terms.uint(f"{field}.onchain_id", message.onchain_id, 1),
        terms.activation_receipt(f"{field}.receipt", message.receipt),
        terms.signature(f"{field}.receipt.signature", message.receipt.signature),
        terms.uint(f"{field}.btc_round", message.btc_round),
        terms.uint(f"{field}.stx_round", message.stx_round),
    )
    return Call(payload, _vault_pays(contracts, [message.max_payout]))


def _expire_policies(contracts: Contracts, message: pb.ExpirePoliciesCall) -> Call:
    field = "call.expire_policies"
    ids = [terms.uint(f"{field}.onchain_ids", number, 1) for number in message.onchain_ids]
    if not 1 <= len(ids) <= MAX_EXPIRY_BATCH or len(set(ids)) != len(ids):
        raise InvalidArgument.of(f"{field}.onchain_ids", f"expected 1 to {MAX_EXPIRY_BATCH} different ids")
    payload = _call(
        contracts,
        REGISTRY,
        "expire-policies",
        ListValue(tuple(ids)),
        terms.expiry_receipt(f"{field}.receipt", message.receipt),
        terms.signature(f"{field}.receipt.signature", message.receipt.signature),
    )
    return Call(payload, _vault_pays(contracts, message.max_payouts))


def wallet_call(contracts: Contracts, sender: StandardPrincipal, message: pb.PrepareTransactionRequest) -> Call:
    """What a wallet is asked to sign; InvalidArgument when it is malformed or not `sender`'s to call."""
    match message.WhichOneof("call"):
        case "create_policy":
            return _create_policy(contracts, sender, message.create_policy)
        case "deposit":
            return _deposit(contracts, sender, message.deposit)
        case "withdraw":
            return _withdraw(contracts, sender, message.withdraw)
        case "request_activation":
            policy = terms.uint("request_activation.onchain_id", message.request_activation.onchain_id, 1)
            return Call(_call(contracts, REGISTRY, "request-activation", policy), ())
        case "settle_policy":
            return _settle_policy(contracts, message.settle_policy, "settle_policy")
        case _:
            raise InvalidArgument.of("call", "is required")


def _create_policy(contracts: Contracts, sender: StandardPrincipal, message: pb.CreatePolicyCall) -> Call:
    quote = terms.quote("create_policy.terms", message.terms, contracts)
    if quote["holder"] != sender:
        raise InvalidArgument.of("create_policy.terms.holder_principal", "the holder pays for their own policy")
    signature = terms.signature("create_policy.signature", message.signature)
    total = message.terms.premium_base_units + message.terms.fee_base_units
    condition = moves(contracts, sender, FungibleCode.EQUAL, message.terms.token, total)
    return Call(_call(contracts, REGISTRY, "create-policy-entry", quote, signature), (condition,))


def _deposit(contracts: Contracts, sender: StandardPrincipal, message: pb.DepositCall) -> Call:
    token = terms.token("deposit.amount.token", message.amount.token)
    amount = terms.uint("deposit.amount.base_units", message.amount.base_units, 1)
    if message.tier not in money_pb2.Tier.values() or message.tier == money_pb2.TIER_UNSPECIFIED:
        raise InvalidArgument.of("deposit.tier", "is required")
    payload = _call(contracts, VAULT, "deposit-to-pool", token, UInt(message.tier), amount)
    return Call(payload, (moves(contracts, sender, FungibleCode.EQUAL, token.value, amount.value),))


def _withdraw(contracts: Contracts, sender: StandardPrincipal, message: pb.WithdrawCall) -> Call:
    voucher = terms.voucher("withdraw.terms", message.terms, contracts)
    if voucher["provider"] != sender:
        raise InvalidArgument.of("withdraw.terms.provider_principal", "the provider withdraws for themselves")
    signature = terms.signature("withdraw.signature", message.signature)
    amount = message.terms.amount
    # At most: a voucher beyond the day's cap is only announced by its first call, which moves nothing.
    vault = contracts.principal(VAULT)
    condition = moves(contracts, vault, FungibleCode.LESS_OR_EQUAL, amount.token, amount.base_units)
    return Call(_call(contracts, VAULT, "withdraw-from-pool", voucher, signature), (condition,))

"""Between protobuf and the domain, both ways; nothing else knows both."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.clock import estimated_time
from kernel.errors import InvalidArgument
from kernel.ids import resource_name
from kernel.units import Tier, Token
from services.policy.domain.activation import KnownTip, ReceiptFacts
from services.policy.domain.errors import invalid_terms
from services.policy.domain.policy import Policy, Transition
from services.policy.domain.quote import Quote, Room, breakdown_values
from services.policy.domain.sensitivities import Sensitivities
from services.policy.domain.tiers import Terms
from services.policy.domain.transitions import PolicyState
from services.policy.store_expiry import COLLECTION, ExpiryBatch
from services.policy.store_queries import Record
from workflows.contract import PolicyLabels

PENDING_CREATION = policy_pb2.POLICY_STATE_PENDING_CREATION

# Items that records of older quotes do not have.
_ADDED_LATER: Final = frozenset({"duration_value_usd_e8", "utilization_loading_bps"})

# Proto's enums of tier, token and state carry the domain's own numbers and names.


def terms_from(message: pb.PolicyTerms) -> Terms:
    """A request's terms; InvalidArgument for an unknown token."""
    return Terms(
        protected_amount_sats=message.protected_amount_sats,
        strike_price_usd_e8=message.strike_price_usd_e8,
        floor_price_usd_e8=message.floor_price_usd_e8,
        token=_token_from(message.settlement_token),
        duration_blocks=message.duration_blocks,
        auto_settle=not message.opt_out_of_automatic_settlement,
    )


def _token_from(value: int) -> Token:
    try:
        return Token(value)
    except ValueError as error:
        raise invalid_terms("settlement_token", "must be TOKEN_STX or TOKEN_SBTC") from error


def optional_token(value: int) -> Token | None:
    """The token, or None for an unspecified or unknown one."""
    return Token(value) if value in list(Token) else None


def optional_tier(value: int) -> Tier | None:
    """The tier, or None for unspecified; InvalidArgument for an unknown one."""
    if value == money_pb2.TIER_UNSPECIFIED:
        return None
    if value not in list(Tier):
        raise InvalidArgument.of("tier", "unknown tier")
    return Tier(value)


def states_from(values: Any) -> list[PolicyState]:
    """States to filter by; InvalidArgument for an unknown one."""
    known = set(policy_pb2.PolicyState.values())
    if any(value not in known or not value for value in values):
        raise InvalidArgument.of("states", "unknown state")
    return [PolicyState(policy_pb2.PolicyState.Name(value).removeprefix("POLICY_STATE_")) for value in values]


def state_value(state: PolicyState | None) -> policy_pb2.PolicyState.ValueType:
    """The state as protobuf has it; unspecified for None."""
    return policy_pb2.PolicyState.Value(f"POLICY_STATE_{state or 'UNSPECIFIED'}")


def timestamp(time: dt.datetime) -> Timestamp:
    """A time as protobuf has it."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def amount(token: Token, base_units: int) -> money_pb2.TokenAmount:
    """An amount of a token."""
    return money_pb2.TokenAmount(token=int(token), base_units=base_units)  # type: ignore[arg-type]


def breakdown_message(token: Token, values: Mapping[str, Any]) -> policy_pb2.PremiumBreakdown:
    """A breakdown as it was quoted."""
    message = policy_pb2.PremiumBreakdown()
    for field in message.DESCRIPTOR.fields:
        if field.name in _ADDED_LATER and field.name not in values:
            continue
        if field.message_type is None:
            setattr(message, field.name, values[field.name])
        else:
            getattr(message, field.name).CopyFrom(amount(token, values[f"{field.name}_base_units"]))
    return message


def sensitivities_message(found: Sensitivities) -> policy_pb2.Sensitivities:
    """The Greeks of a policy."""
    return policy_pb2.Sensitivities(**dataclasses.asdict(found))


def quote_message(quote: Quote, tip: KnownTip, room: Room | None) -> policy_pb2.Quote:
    """An indicative quote at a tip."""
    token, expiration = quote.terms.token, tip.burn_height + quote.terms.duration_blocks
    return policy_pb2.Quote(
        tier=int(quote.admission.bounds.tier),  # type: ignore[arg-type]
        tier_reason=quote.admission.reason,
        premium=amount(token, quote.premium),
        fee=amount(token, quote.fee),
        max_payout=amount(token, quote.max_payout_base_units),
        breakdown=breakdown_message(token, breakdown_values(quote.breakdown)),
        quote_burn_height=tip.burn_height,
        expiration_burn_height=expiration,
        estimated_expiration_time=timestamp(estimated_time(tip.market_time, tip.burn_height, expiration)),
        available=None if room is None else amount(token, room.available_base_units),
        tier_closed=room is not None and room.is_closed,
        notional_usd_e8=quote.notional_usd_e8,
    )


def quote_terms(policy: Policy) -> transaction_pb2.QuoteTerms:
    """What the holder signs for."""
    return transaction_pb2.QuoteTerms(
        policy=policy.name,
        holder_principal=policy.holder_principal,
        tier=int(policy.tier),
        token=int(policy.token),
        protected_amount_sats=policy.protected_amount_sats,
        strike_price_usd_e8=policy.strike_price_usd_e8,
        floor_price_usd_e8=policy.floor_price_usd_e8,
        btc_price_usd_e8=policy.btc_price_usd_e8,
        stx_price_usd_e8=policy.stx_price_usd_e8,
        premium_base_units=policy.premium_base_units,
        fee_base_units=policy.fee_base_units,
        auto_settle=policy.auto_settle,
        quote_burn_height=policy.quote_burn_height,
        quote_expiration_burn_height=policy.quote_expiration_burn_height,
        expiration_burn_height=policy.expiration_burn_height,
    )


def _transition(transition: Transition) -> policy_pb2.PolicyTransition:
    return policy_pb2.PolicyTransition(
        from_state=state_value(transition.from_state),
        to_state=state_value(transition.to_state),
        cause=transition.cause,
        time=timestamp(transition.time),
        txid=transition.txid,
        burn_height=transition.burn_height,
    )


# Fields of the message that are fields of the domain, name for name.
_SAME = [
    "name",
    "onchain_id",
    "holder_principal",
    "counterparty_principal",
    "strike_price_usd_e8",
    "floor_price_usd_e8",
    "protected_amount_sats",
    "quote_burn_height",
    "quote_expiration_burn_height",
    "creation_burn_height",
    "activation_burn_height",
    "expiration_burn_height",
    "creation_txid",
    "last_status_txid",
    "quote_btc_round",
    "quote_stx_round",
    "activation_number",
    "settlement_btc_price_usd_e8",
    "settlement_stx_price_usd_e8",
    "expiry_checked_burn_height",
    "version",
    "reason",
    "quote_signature",
]
_AMOUNTS = ("premium", "fee", "max_payout")


def policy_message(record: Record, tip: KnownTip | None, *, for_signing: bool) -> policy_pb2.Policy:
    """The policy record. `for_signing` adds the transaction to sign, which only holder and services see."""
    message = lasting_message(record, for_signing=for_signing)
    add_what_follows_the_tip(message, record.policy, tip)
    return message


def lasting_message(record: Record, *, for_signing: bool) -> policy_pb2.Policy:
    """Of the policy record what stays the same for as long as its version does."""
    policy = record.policy
    message = policy_pb2.Policy(**{name: getattr(policy, name) for name in _SAME})
    message.option_type = policy_pb2.OPTION_TYPE_PUT
    message.tier = int(policy.tier)  # type: ignore[assignment]
    message.settlement_token = int(policy.token)  # type: ignore[assignment]
    for name in _AMOUNTS:
        getattr(message, name).CopyFrom(amount(policy.token, getattr(policy, f"{name}_base_units")))
    message.state = state_value(policy.state)
    message.onchain_state = policy_pb2.OnchainState.Value(f"ONCHAIN_STATE_{policy.onchain_state}")
    message.opt_out_of_automatic_settlement = not policy.auto_settle
    _times(message, policy)
    if policy.state is PolicyState.SETTLED:
        message.payout.CopyFrom(amount(policy.token, policy.payout_base_units))
    if record.activation is not None and record.activation.receipt:
        message.activation_receipt.ParseFromString(record.activation.receipt)
    if for_signing and policy.state is PolicyState.PENDING_CREATION and policy.prepared_transaction:
        message.prepared_transaction.ParseFromString(policy.prepared_transaction)
    message.history.extend(_transition(transition) for transition in record.history)
    message.quote_terms.CopyFrom(quote_terms(policy))
    return message


def _times(message: policy_pb2.Policy, policy: Policy) -> None:
    for name in ("create_time", "update_time", "confirm_time", "settlement_time"):
        time = getattr(policy, name)
        if time is not None:
            getattr(message, name).FromDatetime(time)


def add_what_follows_the_tip(message: policy_pb2.Policy, policy: Policy, tip: KnownTip | None) -> None:
    """Confirmations and the estimated expiration; nothing before the first tip."""
    if tip is None:
        return
    if policy.onchain_burn_height:
        message.burn_confirmations = max(0, tip.burn_height - policy.onchain_burn_height)
    expiration = estimated_time(tip.market_time, tip.burn_height, policy.expiration_burn_height)
    message.estimated_expiration_time.FromDatetime(expiration)


def batch_message(batch: ExpiryBatch, policies: list[Policy], open_count: int) -> pb.ExpiryBatch:
    """A batch with the sum of collateral per token."""
    sums: dict[Token, int] = {}
    for policy in policies:
        sums[policy.token] = sums.get(policy.token, 0) + policy.max_payout_base_units
    return pb.ExpiryBatch(
        name=resource_name(COLLECTION, batch.id),
        expiration_burn_height=batch.expiration_burn_height,
        onchain_ids=[policy.onchain_id for policy in policies],
        max_payouts=[amount(token, total) for token, total in sorted(sums.items())],
        create_time=timestamp(batch.create_time),
        open_count=open_count,
    )


def receipt_facts(receipt: price_pb2.SettlementReceipt) -> ReceiptFacts:
    """What an activation's receipt says."""
    return ReceiptFacts(
        policy_name=receipt.activation.policy,
        activation_number=receipt.activation.activation_number,
        btc_price_usd_e8=receipt.btc_price_usd_e8,
        stx_price_usd_e8=receipt.stx_price_usd_e8,
        burn_height=receipt.burn_height,
        signature=receipt.signature,
    )


def labels(policy: Policy) -> PolicyLabels:
    """What operators search the policy's workflows by."""
    return PolicyLabels(policy.name, policy.holder_principal, policy.tier.name, str(policy.state))


def policy_total(policy: Policy) -> pb.PolicyTotal:
    """What the books say of a policy, for reconciliation."""
    return pb.PolicyTotal(
        onchain_id=policy.onchain_id,
        policy=policy.name,
        state=state_value(policy.state),
        max_payout=amount(policy.token, policy.max_payout_base_units),
        payout_base_units=policy.payout_base_units,
        terms=quote_terms(policy),
        created_burn_height=policy.creation_burn_height,
        grace_blocks=policy.grace_blocks,
    )

"""What the gateway and the oracle keep for good, as the domain knows it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2

from kernel.ids import parse_resource_name
from kernel.units import Tier, Token, max_payout
from services.policy.domain.activation import Activation, ActivationState
from services.policy.domain.policy import COLLECTION, Policy
from services.policy.domain.transitions import PolicyState

_RUN: Final = re.compile(r"/retry-([0-9]{1,9})/")
_OPEN: Final = (gateway_pb2.INTENT_STATE_QUEUED, gateway_pb2.INTENT_STATE_SUBMITTED, gateway_pb2.INTENT_STATE_CONFIRMED)


@dataclass(frozen=True)
class Settlement:
    """A settlement that was asked for. `run` counts operators' retries; `is_open`: it may still settle, or has."""

    policy_id: str
    run: int
    is_open: bool


def policy_from_quote(signed: gateway_pb2.SignedQuote, haircuts_bps: Mapping[Tier, int], vault: str) -> Policy:
    """The policy as it waited for its payment; its collateral by the haircuts of today."""
    terms, time = signed.terms, signed.create_time.ToDatetime(dt.UTC)
    token, tier = Token(terms.token), Tier(terms.tier)
    strike, floor = terms.strike_price_usd_e8, terms.floor_price_usd_e8
    collateral = max_payout(
        token, terms.protected_amount_sats, strike, floor, terms.stx_price_usd_e8, haircuts_bps[tier]
    )
    return Policy(
        id=parse_resource_name(COLLECTION, terms.policy),
        holder_principal=terms.holder_principal,
        counterparty_principal=vault,
        token=token,
        tier=tier,
        protected_amount_sats=terms.protected_amount_sats,
        strike_price_usd_e8=strike,
        floor_price_usd_e8=floor,
        btc_price_usd_e8=terms.btc_price_usd_e8,
        stx_price_usd_e8=terms.stx_price_usd_e8,
        premium_base_units=terms.premium_base_units,
        fee_base_units=terms.fee_base_units,
        max_payout_base_units=collateral,
        auto_settle=terms.auto_settle,
        quote_burn_height=terms.quote_burn_height,
        quote_expiration_burn_height=terms.quote_expiration_burn_height,
        expiration_burn_height=terms.expiration_burn_height,
        state=PolicyState.PENDING_CREATION,
        create_time=time,
        update_time=time,
        quote_signature=signed.signature,
    )


def activation_from_receipt(policy: Policy, number: int, answer: oracle_pb2.GetReceiptResponse) -> Activation:
    """The activation that a receipt decided. The wall time of its request is not kept: market time stands for it."""
    receipt, requested = answer.receipt, answer.request_market_time.ToDatetime(dt.UTC)
    pays = policy.payout_at(receipt.btc_price_usd_e8, receipt.stx_price_usd_e8) > 0
    return Activation(
        policy_id=policy.id,
        number=number,
        state=ActivationState.IN_THE_MONEY if pays else ActivationState.OUT_OF_THE_MONEY,
        request_time=requested,
        request_market_time=requested,
        request_burn_height=receipt.burn_height,
        receipt=receipt.SerializeToString(deterministic=True),
    )


def settlement_from(intent: gateway_pb2.SettlementIntent) -> Settlement:
    """What an intent says; its key is `settle/{policy}/{n}[/retry-{run}]/submit/{attempt}`."""
    found = _RUN.search(intent.key)
    policy_id = parse_resource_name(COLLECTION, intent.call.receipt.activation.policy)
    return Settlement(policy_id, int(found[1]) if found else 0, intent.state in _OPEN)

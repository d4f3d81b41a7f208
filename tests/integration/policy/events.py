"""Chain events as the gateway delivers them."""

from __future__ import annotations

from typing import Any

from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.type.v1 import money_pb2, price_pb2

from kernel.clock import wall_now
from tests.integration.policy.harness import SIGNATURE
from tests.integration.policy.stand_ins import STX_PRICE

GRACE = 6


def _event(burn_height: int, txid: str, *, withdrawn: bool = False, **payload: Any) -> event_pb2.ChainEvent:
    event = event_pb2.ChainEvent(burn_height=burn_height, txid=txid, withdrawn=withdrawn, **payload)
    event.block_time.FromDatetime(wall_now())
    return event


def created(
    policy: policy_pb2.Policy, onchain_id: int = 1, burn_height: int = 1001, *, withdrawn: bool = False
) -> event_pb2.ChainEvent:
    """`policy-created` of a quoted policy."""
    payload = event_pb2.PolicyCreated(
        onchain_id=onchain_id,
        terms=policy.quote_terms,
        max_payout_base_units=policy.max_payout.base_units,
        created_burn_height=burn_height,
        grace_blocks=GRACE,
    )
    return _event(burn_height, f"c{onchain_id}", withdrawn=withdrawn, policy_created=payload)


def settled(
    policy: policy_pb2.Policy, payout: int, onchain_id: int = 1, burn_height: int = 1005, *, withdrawn: bool = False
) -> event_pb2.ChainEvent:
    """`policy-settled`."""
    payload = event_pb2.PolicySettled(
        onchain_id=onchain_id,
        policy=policy.name,
        payout=money_pb2.TokenAmount(token=policy.settlement_token, base_units=payout),
        max_payout_base_units=policy.max_payout.base_units,
        btc_price_usd_e8=80_000 * 10**8,
        stx_price_usd_e8=STX_PRICE,
    )
    return _event(burn_height, f"s{onchain_id}", withdrawn=withdrawn, policy_settled=payload)


def expired(
    policy: policy_pb2.Policy, onchain_id: int = 1, burn_height: int = 1200, *, withdrawn: bool = False
) -> event_pb2.ChainEvent:
    """`policy-expired`."""
    payload = event_pb2.PolicyExpired(
        onchain_id=onchain_id,
        policy=policy.name,
        token=policy.settlement_token,
        max_payout_base_units=policy.max_payout.base_units,
        btc_price_usd_e8=100_000 * 10**8,
    )
    return _event(burn_height, f"e{onchain_id}", withdrawn=withdrawn, policy_expired=payload)


def refused(onchain_id: int, error: int, burn_height: int = 1200, *, backend_fee_ustx: int = 1) -> event_pb2.ChainEvent:
    """`policy-refused`, of a transaction of ours unless its fee is zero."""
    payload = event_pb2.PolicyRefused(onchain_id=onchain_id, error=error)
    event = _event(burn_height, f"r{onchain_id}", policy_refused=payload)
    event.backend_fee_ustx = backend_fee_ustx
    return event


def receipt(policy: policy_pb2.Policy, btc_price_usd_e8: int, number: int = 1) -> price_pb2.SettlementReceipt:
    """The receipt of an activation at a price."""
    found = price_pb2.SettlementReceipt(
        activation=price_pb2.ActivationPurpose(policy=policy.name, activation_number=number),
        btc_price_usd_e8=btc_price_usd_e8,
        stx_price_usd_e8=STX_PRICE,
        burn_height=policy.activation_burn_height,
        signature=SIGNATURE,
    )
    found.observe_time.FromSeconds(1_700_000_000)
    return found

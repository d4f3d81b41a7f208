"""What the chain's events do to policies. Pure but for the store: one event, in the projector's transaction."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Final

from bithedge.chain_gateway.v1 import chain_event_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name
from kernel.log import get_logger
from kernel.outbox import post
from kernel.temporal import SIGNAL
from kernel.units import Tier, Token
from services.policy import store
from services.policy.domain.activation import ActivationState
from services.policy.domain.policy import (
    COLLECTION,
    RETRY_EXPIRY_BLOCKS,
    Change,
    OnchainState,
    Origin,
    Policy,
    birth,
    is_ended,
    move,
    note,
    touch,
)
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.metrics import ALERTS, TRANSITIONS
from services.policy.store_activations import read_activation, save_activation
from services.policy.tables import Outbox
from workflows.contract import Signal, SignalName, create_policy_workflow_id, settle_policy_workflow_id

Event = chain_event_pb2.ChainEvent
_TERMS: Final = (
    "holder_principal",
    "protected_amount_sats",
    "strike_price_usd_e8",
    "floor_price_usd_e8",
    "btc_price_usd_e8",
    "stx_price_usd_e8",
    "premium_base_units",
    "fee_base_units",
    "auto_settle",
    "quote_burn_height",
    "quote_expiration_burn_height",
    "expiration_burn_height",
)


async def apply_final(session: AsyncSession, event: Event, delivered_burn_height: int, vault: str) -> None:
    """Applies one final event; one that was applied before changes nothing. `vault` wrote what our books know not."""
    kind = event.WhichOneof("payload")
    if kind == "policy_created":
        await _created(session, event, vault)
    elif kind == "policy_settled":
        await _settled(session, event)
    elif kind == "policy_expired":
        await _expired(session, event)
    elif kind == "policy_refused":
        await _refused(session, event, delivered_burn_height)


def origin_of(event: Event) -> Origin:
    """The event as the origin of a change, which is made now; the block's time is a fact of its own."""
    return Origin(wall_now(), event.txid, event.burn_height)


async def _created(session: AsyncSession, event: Event, vault: str) -> None:
    created = event.policy_created
    policy_id = policy_id_of(created.terms.policy, event)
    if policy_id is None:
        return
    policy = await store.find(session, policy_id, lock=True)
    await free_onchain_id(session, policy, event)
    if policy is None:
        await _adopt(session, event, policy_id, vault)
    elif policy.state is PolicyState.PENDING_CREATION:
        change = move(policy, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN, origin_of(event), **creation_fields(event))
        policy = await store.save(session, change)
        TRANSITIONS.labels(policy.state).inc()
        await signal_creation(session, policy)
    elif policy.state is PolicyState.FAILED_CREATION and not policy.creation_txid:
        alert("created_after_failure", policy=policy.name, txid=event.txid)
        fields = {**_fields_of_known(policy, event), "reason": str(Cause.CREATED_AFTER_FAILURE)}
        await store.save(
            session, note(policy, Actor.PROJECTOR, Cause.CREATED_AFTER_FAILURE, origin_of(event), **fields)
        )


async def free_onchain_id(session: AsyncSession, policy: Policy | None, event: Event) -> None:
    """Takes the number from a policy that had it on a fork which is gone, before its withdrawal reached us."""
    other = await store.find_onchain(session, event.policy_created.onchain_id, lock=True)
    if other is not None and (policy is None or other.id != policy.id):
        alert("onchain_id_moved", policy=other.name, onchain_id=other.onchain_id)
        await store.save(session, touch(other, origin_of(event), onchain_id=0, onchain_state=OnchainState.NONE))


def _fields_of_known(policy: Policy, event: Event) -> dict[str, Any]:
    """What creation says, without taking back what the tip has already said of the policy's end."""
    fields = creation_fields(event)
    if policy.onchain_state in (OnchainState.SETTLED, OnchainState.EXPIRED):
        for name in ("onchain_state", "onchain_burn_height", "last_status_txid"):
            del fields[name]
    return fields


def creation_fields(event: Event) -> dict[str, Any]:
    """What a `policy_created` says, besides the terms, of the policy that it creates."""
    created = event.policy_created
    return {
        "onchain_id": created.onchain_id,
        "onchain_state": OnchainState.ACTIVE,
        "onchain_burn_height": event.burn_height,
        "creation_burn_height": created.created_burn_height,
        "grace_blocks": created.grace_blocks,
        "max_payout_base_units": created.max_payout_base_units,
        "confirm_time": event.block_time.ToDatetime(dt.UTC),
        "creation_txid": event.txid,
        "last_status_txid": event.txid,
        "due_burn_height": created.terms.expiration_burn_height + created.grace_blocks + 1,
    }


async def _adopt(session: AsyncSession, event: Event, policy_id: str, vault: str) -> None:
    """A policy that our books do not know."""
    alert("unknown_policy_created", policy=event.policy_created.terms.policy, txid=event.txid)
    policy = adopted(event, policy_id, vault)
    await store.insert(session, policy, birth(policy, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN, origin_of(event)))


def adopted(event: Event, policy_id: str, vault: str) -> Policy:
    """The ACTIVE policy made from a `policy_created` alone, which has every term."""
    time = wall_now()
    return Policy(
        id=policy_id,
        counterparty_principal=vault,
        state=PolicyState.ACTIVE,
        create_time=time,
        update_time=time,
        **term_fields(event),
        **creation_fields(event),
    )


def term_fields(event: Event) -> dict[str, Any]:
    """The terms of a `policy_created`."""
    terms = event.policy_created.terms
    same = {name: getattr(terms, name) for name in _TERMS}
    return {**same, "token": Token(terms.token), "tier": Tier(terms.tier)}


async def _settled(session: AsyncSession, event: Event) -> None:
    policy = await _find_open(session, event.policy_settled.policy, event)
    if policy is not None:
        await _end(session, policy, event)


async def _expired(session: AsyncSession, event: Event) -> None:
    policy = await _find_open(session, event.policy_expired.policy, event)
    if policy is None:
        return
    if policy.state in (PolicyState.SETTLING, PolicyState.FAILED_SETTLEMENT):
        alert("expired_while_settling", policy=policy.name, txid=event.txid)
    await _end(session, policy, event)


def ended(policy: Policy, event: Event) -> Change:
    """The open policy as a `policy_settled` or `policy_expired` leaves it."""
    cause = Cause.SETTLED_ON_CHAIN if event.HasField("policy_settled") else Cause.EXPIRED_ON_CHAIN
    return move(policy, Actor.PROJECTOR, cause, origin_of(event), **end_fields(event))


def end_fields(event: Event) -> dict[str, Any]:
    """What a `policy_settled` or `policy_expired` says of the policy that it ends, besides its state."""
    if event.HasField("policy_settled"):
        settled = event.policy_settled
        return {
            **_end_at(event, OnchainState.SETTLED),
            "payout_base_units": settled.payout.base_units,
            "settlement_btc_price_usd_e8": settled.btc_price_usd_e8,
            "settlement_stx_price_usd_e8": settled.stx_price_usd_e8,
            "settlement_time": event.block_time.ToDatetime(dt.UTC),
        }
    return {
        **_end_at(event, OnchainState.EXPIRED),
        "settlement_btc_price_usd_e8": event.policy_expired.btc_price_usd_e8,
        "expiry_checked_burn_height": event.burn_height,
    }


def _end_at(event: Event, onchain_state: OnchainState) -> dict[str, Any]:
    return {
        "onchain_state": onchain_state,
        "onchain_burn_height": event.burn_height,
        "last_status_txid": event.txid,
        "unjudged_activation": False,
        "reason": "",
    }


async def _end(session: AsyncSession, policy: Policy, event: Event) -> None:
    change = ended(policy, event)
    await _signal_settlement(session, policy, str(change.after.state))
    if policy.unjudged_activation:
        activation = await read_activation(session, policy, policy.activation_number)
        await save_activation(session, dataclasses.replace(activation, state=ActivationState.REFUSED))
    await store.save(session, change)
    TRANSITIONS.labels(change.after.state).inc()


async def _find_open(session: AsyncSession, name: str, event: Event) -> Policy | None:
    policy_id = policy_id_of(name, event)
    if policy_id is None:
        return None
    policy = await store.find(session, policy_id, lock=True)
    if policy is not None and (is_ended(policy) or policy.state is PolicyState.PENDING_CREATION):
        if policy.last_status_txid != event.txid or not is_ended(policy):
            alert("end_of_policy_that_is_not_open", policy=name, state=policy.state, txid=event.txid)
        return None
    if policy is None:
        alert("end_of_unknown_policy", policy=name, txid=event.txid)
    return policy


async def _refused(session: AsyncSession, event: Event, delivered_burn_height: int) -> None:
    if not event.backend_fee_ustx:
        # Anyone may call `expire-abandoned-policies`, which prints the same of policies that are ours to expire.
        return
    refused = event.policy_refused
    policy = await store.find_onchain(session, refused.onchain_id, lock=True)
    if policy is None or policy.state is not PolicyState.EXPIRING:
        return
    reason = f"u{refused.error}"
    change = move(
        policy,
        Actor.PROJECTOR,
        Cause.REFUSED_AT_EXPIRY,
        origin_of(event),
        detail=reason,
        reason=reason,
        expiry_batch_id="",
        due_burn_height=max(delivered_burn_height, event.burn_height) + RETRY_EXPIRY_BLOCKS,
    )
    await store.save(session, change)
    TRANSITIONS.labels(PolicyState.ACTIVE).inc()


async def signal_creation(session: AsyncSession, policy: Policy) -> None:
    """Wakes the workflow of a creation that the chain has decided."""
    signal = Signal(create_policy_workflow_id(policy.name), SignalName.CREATION_ENDED, str(policy.state))
    await post(session, Outbox, SIGNAL, signal.workflow_id, signal.payload())


async def _signal_settlement(session: AsyncSession, policy: Policy, state: str) -> None:
    """Wakes the workflow of a settlement, if one was started."""
    if policy.state is not PolicyState.SETTLING:
        return
    activation = await read_activation(session, policy, policy.activation_number)
    if activation.state is ActivationState.IN_THE_MONEY:
        workflow_id = settle_policy_workflow_id(policy.name, activation.number, policy.settlement_run)
        signal = Signal(workflow_id, SignalName.SETTLEMENT_ENDED, state)
        await post(session, Outbox, SIGNAL, signal.workflow_id, signal.payload())


def policy_id_of(name: str, event: Event) -> str | None:
    """The id in an event, or None with an alert: what the chain says must not stop the projector."""
    try:
        return parse_resource_name(COLLECTION, name)
    except InvalidArgument:
        alert("malformed_policy_id", name=name, txid=event.txid)
        return None


def alert(kind: str, **context: object) -> None:
    """Counts and logs what a person must look at."""
    ALERTS.labels(kind).inc()
    get_logger().error(kind, **context)

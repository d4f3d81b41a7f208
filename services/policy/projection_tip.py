"""What events at the tip do: `onchain_state` and transactions, in both directions; never `state`."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy import store
from services.policy.domain.policy import OnchainState, Policy, touch
from services.policy.projection import Event, free_onchain_id, origin_of, policy_id_of

_RANK: Final = {
    OnchainState.NONE: 0,
    OnchainState.ACTIVE: 1,
    OnchainState.SETTLED: 2,
    OnchainState.EXPIRED: 2,
}


async def apply_tip(session: AsyncSession, event: Event) -> None:
    """Applies or withdraws one event at the tip."""
    kind = event.WhichOneof("payload")
    if kind == "policy_created":
        name, state = event.policy_created.terms.policy, OnchainState.ACTIVE
    elif kind == "policy_settled":
        name, state = event.policy_settled.policy, OnchainState.SETTLED
    elif kind == "policy_expired":
        name, state = event.policy_expired.policy, OnchainState.EXPIRED
    else:
        return
    policy_id = policy_id_of(name, event)
    policy = None if policy_id is None else await store.find(session, policy_id, lock=True)
    if policy is not None:
        fields = _withdrawn(policy, state, event) if event.withdrawn else seen(policy, state, event)
        if fields.get("onchain_id"):
            await free_onchain_id(session, policy, event)
        if fields:
            await store.save(session, touch(policy, origin_of(event), **fields))


def seen(policy: Policy, state: OnchainState, event: Event) -> dict[str, Any]:
    """What changes of a policy with an event that says `state`.

    Nothing when the other stream was first: this one never takes a policy back without a withdrawal.
    """
    if _RANK[state] <= _RANK[policy.onchain_state]:
        return {}
    fields: dict[str, Any] = {
        "onchain_state": state,
        "onchain_burn_height": event.burn_height,
        "last_status_txid": event.txid,
    }
    if state is OnchainState.ACTIVE:
        fields |= {
            "onchain_id": event.policy_created.onchain_id,
            "creation_burn_height": event.burn_height,
            "creation_txid": event.txid,
        }
    return fields


def _withdrawn(policy: Policy, state: OnchainState, event: Event) -> dict[str, Any]:
    if policy.onchain_state is not state or policy.last_status_txid != event.txid:
        return {}
    if state is OnchainState.ACTIVE:
        return {
            "onchain_state": OnchainState.NONE,
            "onchain_id": 0,
            "onchain_burn_height": 0,
            "creation_burn_height": 0,
            "creation_txid": "",
            "last_status_txid": "",
        }
    return {
        "onchain_state": OnchainState.ACTIVE,
        "onchain_burn_height": policy.creation_burn_height,
        "last_status_txid": policy.creation_txid,
    }

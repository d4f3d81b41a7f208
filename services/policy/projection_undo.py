"""A final event was withdrawn: the reorganisation was deeper than finality. Reverse, stop creation, tell a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy import store
from services.policy.domain.activation import ActivationState
from services.policy.domain.policy import OnchainState, Policy, reverse
from services.policy.domain.transitions import OPEN, PolicyState
from services.policy.projection import Event, alert, origin_of, policy_id_of
from services.policy.store_activations import read_activation
from services.policy.store_projection import set_stop_reason

NOT_CREATED: Final[Mapping[str, Any]] = {
    "onchain_id": 0,
    "onchain_state": OnchainState.NONE,
    "onchain_burn_height": 0,
    "creation_burn_height": 0,
    "confirm_time": None,
    "creation_txid": "",
    "last_status_txid": "",
    "due_burn_height": 0,
    "expiry_batch_id": "",
    "unjudged_activation": False,
}


async def undo_final(session: AsyncSession, event: Event) -> None:
    """Reverses what the event had caused; creation stays stopped until an operator resumes it."""
    alert("final_event_withdrawn", txid=event.txid, block_hash=event.block_hash)
    await set_stop_reason(session, f"a final block was withdrawn: {event.block_hash}")
    kind = event.WhichOneof("payload")
    if kind == "policy_created":
        await _undo_creation(session, event)
    elif kind == "policy_settled":
        await _undo_end(session, event, event.policy_settled.policy)
    elif kind == "policy_expired":
        await _undo_end(session, event, event.policy_expired.policy)


async def _find(session: AsyncSession, name: str, event: Event) -> Policy | None:
    policy_id = policy_id_of(name, event)
    return None if policy_id is None else await store.find(session, policy_id, lock=True)


async def _undo_creation(session: AsyncSession, event: Event) -> None:
    policy = await _find(session, event.policy_created.terms.policy, event)
    if policy is not None and policy.state in OPEN and policy.creation_txid in ("", event.txid):
        change = reverse(policy, PolicyState.PENDING_CREATION, origin_of(event), **NOT_CREATED)
        await store.save(session, change)


async def _undo_end(session: AsyncSession, event: Event, name: str) -> None:
    policy = await _find(session, name, event)
    if policy is None or policy.state not in (PolicyState.SETTLED, PolicyState.EXPIRED):
        return
    history = (await store.read_history(session, [policy.id]))[policy.id]
    ends = [line for line in history if line.to_state is policy.state and line.txid == event.txid]
    if not ends or ends[-1].from_state is None:
        return
    target = await reopened(session, policy, ends[-1].from_state)
    await store.save(session, reverse(policy, target, origin_of(event), **open_fields(policy, target)))


def open_fields(policy: Policy, target: PolicyState) -> dict[str, Any]:
    """What a policy that is not ended yet says, back in `target`."""
    fields: dict[str, Any] = {
        "onchain_state": OnchainState.ACTIVE,
        "onchain_burn_height": policy.creation_burn_height,
        "last_status_txid": policy.creation_txid,
        "payout_base_units": 0,
        "settlement_btc_price_usd_e8": 0,
        "settlement_stx_price_usd_e8": 0,
        "settlement_time": None,
    }
    if target is PolicyState.ACTIVE:
        fields["expiry_batch_id"] = ""
    return fields


async def reopened(session: AsyncSession, policy: Policy, before: PolicyState) -> PolicyState:
    """Where a policy waits for its end anew. Workflows that were told of the first one have closed: none may own it.

    What was EXPIRING is swept again. What was SETTLING on a receipt is for an operator to retry; an activation that
    is not decided yet still has its workflow.
    """
    if before is PolicyState.EXPIRING:
        return PolicyState.ACTIVE
    if before is not PolicyState.SETTLING:
        return before
    activation = await read_activation(session, policy, policy.activation_number)
    by_receipt = {
        ActivationState.IN_THE_MONEY: PolicyState.FAILED_SETTLEMENT,
        ActivationState.OUT_OF_THE_MONEY: PolicyState.ACTIVE,
    }
    return by_receipt.get(activation.state, before)

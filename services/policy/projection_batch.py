"""Policies that end in one answer, stored together in a handful of statements; what is not plain goes one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from services.policy import store
from services.policy.domain.policy import OnchainState, Policy, touch
from services.policy.domain.transitions import PolicyState
from services.policy.metrics import TRANSITIONS
from services.policy.projection import Event, ended, origin_of, policy_id_of
from services.policy.projection_tip import seen

_END_NO_POLICY: Final = frozenset({"policy_created", "policy_refused"})


def may_be_batched(event: Event) -> bool:
    """Whether an event ends a policy, or is one of those that come with it and change none."""
    return not event.withdrawn and event.WhichOneof("payload") not in _END_NO_POLICY


async def end_final(session: AsyncSession, events: Sequence[Event]) -> Sequence[Event]:
    """Ends policies of claimed batches. The events that are left, to be judged one by one."""
    found = await _lock(session, events)
    if found is None:
        return events
    claimed = [(policy, event) for policy, event in found if _is_claimed(policy)]
    for policy in await store.save_all(session, [ended(policy, event) for policy, event in claimed]):
        TRANSITIONS.labels(policy.state).inc()
    return [event for policy, event in found if not _is_claimed(policy)]


async def end_at_tip(session: AsyncSession, events: Sequence[Event]) -> Sequence[Event]:
    """Notes ends at the tip. The events that are left, to be judged one by one."""
    found = await _lock(session, events)
    if found is None:
        return events
    changed = [(policy, event, seen(policy, _state_of(event), event)) for policy, event in found]
    changes = [touch(policy, origin_of(event), **fields) for policy, event, fields in changed if fields]
    await store.save_all(session, changes)
    return ()


def _is_claimed(policy: Policy) -> bool:
    return policy.state is PolicyState.EXPIRING and not policy.unjudged_activation


def _state_of(event: Event) -> OnchainState:
    return OnchainState.SETTLED if event.HasField("policy_settled") else OnchainState.EXPIRED


async def _lock(session: AsyncSession, events: Sequence[Event]) -> list[tuple[Policy, Event]] | None:
    """The policies that events end, locked, each with its event; None unless all are known and each ends once."""
    by_id: dict[str | None, Event] = {}
    ends = [event for event in events if event.WhichOneof("payload") in ("policy_settled", "policy_expired")]
    for event in ends:
        settled = event.HasField("policy_settled")
        by_id[policy_id_of(event.policy_settled.policy if settled else event.policy_expired.policy, event)] = event
    ids = [policy_id for policy_id in by_id if policy_id is not None]
    if len(ids) != len(ends):
        return None
    policies = await store.lock_all(session, ids)
    return [(policy, by_id[policy.id]) for policy in policies] if len(policies) == len(ids) else None

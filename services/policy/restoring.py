"""A policy whose row was lost, made again from its creation, the quote that was signed for it, and its history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from services.policy import store
from services.policy.domain.activation import Activation, ActivationState
from services.policy.domain.healing import VERSIONS_LOST, counted
from services.policy.domain.policy import Origin, Policy, Transition, birth
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.final_events import ChainWord
from services.policy.projection import Event, end_fields, free_onchain_id
from services.policy.projection_undo import NOT_CREATED
from services.policy.store_activations import find_latest_activation
from services.policy.store_figures import add_figures, figures_of

_ACTIVATED: Final = (Cause.HOLDER_ACTIVATED, Cause.REQUEST_JUDGED)


async def restore(
    session: AsyncSession, created: Event, word: ChainWord, quote: pb.SignedQuote | None, policy: Policy
) -> None:
    """Inserts `policy`, made from `created`, as its history says that it went on from there.

    Creation and end are for the projection to apply where the books had not applied them before.
    """
    await free_onchain_id(session, None, created)
    if quote is not None:
        policy = replace(policy, quote_signature=quote.signature, create_time=quote.create_time.ToDatetime(dt.UTC))
    history = (await store.read_history(session, [policy.id]))[policy.id]
    origin = Origin(wall_now(), created.txid, created.burn_height)
    if not history:
        await store.insert(session, policy, birth(policy, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN, origin))
        return
    activation = await find_latest_activation(session, policy.id)
    policy = replace(policy, version=history[-1].version + VERSIONS_LOST, **_gone_on(history, word, activation))
    as_counted = counted(policy, history[-1].to_state, word.payout_counted(history[-1].txid))
    await add_figures(session, figures_of(as_counted, None))
    line = birth(policy, Actor.PROJECTOR, Cause.PROVEN_BY_CHAIN, origin)
    await store.insert(session, policy, replace(line, from_state=history[-1].to_state))


def _gone_on(history: Sequence[Transition], word: ChainWord, activation: Activation | None) -> dict[str, Any]:
    """State, and what holder and operators did: of a policy that was being expired nothing, it is swept again."""
    last, fields = history[-1].to_state, dict[str, Any]()
    if last in (PolicyState.PENDING_CREATION, PolicyState.FAILED_CREATION):
        unpaid = history[-1].cause == Cause.QUOTE_NOT_PAID
        return {**NOT_CREATED, "state": PolicyState.PENDING_CREATION if unpaid else last}
    if activation is not None:
        fields["activation_number"] = activation.number
        fields["activation_burn_height"] = activation.request_burn_height
        fields["unjudged_activation"] = activation.state is ActivationState.UNJUDGED
        fields["settlement_run"] = _runs(history)
        if last in (PolicyState.SETTLING, PolicyState.FAILED_SETTLEMENT):
            fields["state"] = last
    if word.end is not None and last is word.end_state:
        fields |= {"state": last, **end_fields(word.end)}
    return fields


def _runs(history: Sequence[Transition]) -> int:
    """How often an operator retried the settlement of the last activation."""
    causes = [line.cause.partition(":")[0] for line in history]
    begun = max((at for at, cause in enumerate(causes) if cause in _ACTIVATED), default=0)
    return causes[begun:].count(Cause.SETTLEMENT_RETRIED)

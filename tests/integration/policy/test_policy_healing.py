"""Rows that differ from the final events of the chain: put right from these alone, once, and never beyond them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.ids import new_id
from tests.integration.policy import events
from tests.integration.policy.harness import AS_SERVICE, SIGNATURE, House
from tests.integration.policy.healing_words import (
    FINAL,
    HEALED,
    NOTHING_MISSED,
    RESTORED,
    by_hand,
    figures,
    heal,
    outcomes,
    overlooked,
    said,
)
from tests.integration.policy.stand_ins import USD
from tests.integration.policy.test_policy_life import activate, active_policy, record_receipt

ACTIVE = policy_pb2.POLICY_STATE_ACTIVE
SETTLED = policy_pb2.POLICY_STATE_SETTLED
EXPIRED = policy_pb2.POLICY_STATE_EXPIRED


@pytest.mark.parametrize("end", [events.settled, events.expired])
async def test_a_missed_end_is_applied_as_the_projector_would_have(house: House, end: Any) -> None:
    """Settlement or expiry: state, payout, history and figures; the second time there is nothing to do."""
    policy = await active_policy(house)
    missed = events.settled(policy, 5) if end is events.settled else events.expired(policy)
    await overlooked(house, missed)
    [healed] = await heal(house, policy.name)
    assert (healed.outcome, "state" in healed.changed_fields) == (HEALED, True)
    ended = await house.get(policy.name)
    assert (ended.state, ended.payout.base_units) == ((SETTLED, 5) if end is events.settled else (EXPIRED, 0))
    assert ended.history[-1].txid == missed.txid
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]
    assert await house.get(policy.name) == ended
    state = policy_pb2.PolicyState.Name(ended.state).removeprefix("POLICY_STATE_")
    paid = {("payout", "STX"): 5} if end is events.settled else {}
    assert await figures(house) == {("count", state): 1, ("premium", "STX"): policy.premium.base_units, **paid}


async def test_a_missed_settlement_wakes_its_workflow(house: House) -> None:
    """A policy that was SETTLING on a receipt is SETTLED, and its settle workflow is told as by the projector."""
    policy = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, policy, 80_000 * USD)
    await overlooked(house, events.settled(policy, 5))
    assert await outcomes(house, policy.name) == [HEALED]
    assert [(signal["workflow_id"], signal["argument"]) for signal in (await house.outbox("signal"))[1:]] == [
        (f"settle/{policy.name[9:]}/1", "SETTLED")
    ]


async def test_a_missed_creation_makes_the_policy_active(house: House) -> None:
    """One whose quote our books believe unpaid, and one that was never quoted here."""
    waiting = await house.create()
    stranger = policy_pb2.Policy()
    stranger.CopyFrom(waiting)
    stranger.name = stranger.quote_terms.policy = f"policies/{new_id()}"
    await overlooked(house, events.created(waiting), events.created(stranger, 2))
    assert await outcomes(house, waiting.name, stranger.name) == [HEALED, RESTORED]
    found = [await house.get(one.name) for one in (waiting, stranger)]
    assert [(one.state, one.onchain_id) for one in found] == [(ACTIVE, 1), (ACTIVE, 2)]
    assert [line.cause for line in found[0].history][1:] == ["QUOTE_NOT_PAID", "PROVEN_BY_CHAIN", "CREATED_ON_CHAIN"]
    assert (await figures(house))["count", "ACTIVE"] == 2


async def test_a_missed_creation_of_a_lost_row(house: House) -> None:
    """What waited for its payment is ACTIVE in the row that is made again, and its workflow is told."""
    waiting = await house.create()
    await overlooked(house, events.created(waiting), height=1001)
    await by_hand(house, "DELETE FROM policy.policy")
    assert await outcomes(house, waiting.name) == [RESTORED]
    found = await house.get(waiting.name)
    assert [line.cause for line in found.history] == ["QUOTE_ACCEPTED", "PROVEN_BY_CHAIN", "CREATED_ON_CHAIN"]
    assert [signal["argument"] for signal in await house.outbox("signal")] == ["ACTIVE"]
    assert {key: value for key, value in (await figures(house)).items() if key[0] == "count"} == {
        ("count", "ACTIVE"): 1
    }


_LOST = (
    ("active", ()),
    ("settling", ("activate",)),
    ("settled", ("activate", "settle")),
)


@pytest.mark.parametrize(("name", "steps"), _LOST, ids=[name for name, _ in _LOST])
async def test_a_lost_row_is_made_again(house: House, name: str, steps: Sequence[str]) -> None:
    """From creation, retained quote, history and activation: the same policy and figures, in a later version."""
    policy = await active_policy(house)
    house.gateway.signed_quotes += [
        gateway_pb2.SignedQuote(terms=terms, signature=SIGNATURE) for terms in (policy.quote_terms,) * 2
    ]
    house.gateway.signed_quotes[0].terms.policy = f"policies/{new_id()}"
    if "activate" in steps:
        policy = await activate(house, policy.name)
        await record_receipt(house, policy, 80_000 * USD)
    if "settle" in steps:
        await house.gateway.deliver(FINAL, events.settled(policy, 5), height=1010)
        await house.until(policy.name, SETTLED)
    before, counted = await house.get(policy.name), await figures(house)
    await by_hand(house, "DELETE FROM policy.policy")
    assert await outcomes(house, policy.name) == [RESTORED]
    after = await house.get(policy.name)
    assert said(after) == said(before)
    assert (after.version > before.version, after.history[-1].cause) == (True, "PROVEN_BY_CHAIN")
    assert await figures(house) == counted
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]
    assert await house.get(policy.name) == after


async def test_a_lost_row_whose_end_was_missed_too(house: House) -> None:
    """The row is made again and then ended: its settle workflow and its holder are told."""
    policy = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, policy, 80_000 * USD)
    await overlooked(house, events.settled(policy, 5))
    await by_hand(house, "DELETE FROM policy.policy")
    assert await outcomes(house, policy.name) == [RESTORED]
    after = await house.get(policy.name)
    assert (after.state, after.payout.base_units, after.history[-1].from_state) == (
        SETTLED,
        5,
        policy_pb2.POLICY_STATE_SETTLING,
    )
    assert len(await house.outbox("signal")) == 2
    assert (await figures(house))["count", "SETTLED"] == 1


async def test_a_withdrawal_that_was_missed_is_taken_in(house: House) -> None:
    """The chain took end and creation back: the policy waits for its payment again, and creation is stopped, once."""
    policy = await active_policy(house)
    await house.gateway.deliver(FINAL, events.settled(policy, 5), height=1010)
    await house.until(policy.name, SETTLED)
    await overlooked(house, events.settled(policy, 5, withdrawn=True))
    assert await outcomes(house, policy.name) == [HEALED]
    assert (await house.get(policy.name)).history[-1].cause == "REORGANISED"
    house.gateway.overlook(events.created(policy, withdrawn=True))
    assert await outcomes(house, policy.name) == [HEALED]
    assert (await house.get(policy.name)).state == policy_pb2.POLICY_STATE_PENDING_CREATION
    await by_hand(house, "UPDATE policy.projection SET stop_reason = ''")
    assert await outcomes(house, policy.name) == [pb.HEALING_OUTCOME_NOT_ON_CHAIN]
    assert await house.value("SELECT max(stop_reason) FROM policy.projection") == ""


async def test_what_the_chain_does_not_prove_is_left_alone(house: House) -> None:
    """No row and no event; a row without event; a creation after the quote had ended in our books."""
    unpaid = await house.create()
    failed = await house.create("create-2")
    await house.stub.FailCreation(pb.FailCreationRequest(name=failed.name, reason="NO_ROOM"), metadata=AS_SERVICE)
    await overlooked(house, events.created(failed, 3))
    unknown = f"policies/{new_id()}"
    before = await house.get(unpaid.name)
    assert await outcomes(house, unknown, unpaid.name, failed.name) == [
        pb.HEALING_OUTCOME_NOT_ON_CHAIN,
        pb.HEALING_OUTCOME_NOT_ON_CHAIN,
        pb.HEALING_OUTCOME_CREATED_AFTER_FAILURE,
    ]
    assert await house.get(unpaid.name) == before
    assert (await house.get(failed.name)).state == policy_pb2.POLICY_STATE_FAILED_CREATION


async def test_what_events_say_against_the_rules_is_refused_alone(house: House) -> None:
    """A payout above the collateral is refused; the policy beside it is healed."""
    first = await active_policy(house)
    second = await house.create("create-2")
    await overlooked(house, events.settled(first, first.max_payout.base_units + 1), events.created(second, 2))
    assert await outcomes(house, first.name, second.name) == [pb.HEALING_OUTCOME_REFUSED, HEALED]
    assert (await house.get(first.name)).state == ACTIVE


async def test_healing_beside_the_projector_changes_nothing_twice(house: House) -> None:
    """Asked again and again while the projector applies the same lives: each has every step once."""
    policies = [await house.create(f"create-{number}") for number in range(6)]
    names = [policy.name for policy in policies]

    async def live() -> None:
        for number, policy in enumerate(policies, 1):
            height = 1000 + 2 * number
            await house.gateway.deliver(FINAL, events.created(policy, number, height), height=height)
            await house.gateway.deliver(FINAL, events.settled(policy, 5, number, height + 1), height=height + 1)

    living = asyncio.ensure_future(live())
    rounds = [await outcomes(house, *names) for _ in range(3)]
    await living
    for name in names:
        await house.until(name, SETTLED)
    rounds.append(await outcomes(house, *names))
    assert rounds[-1] == [NOTHING_MISSED] * len(names)
    for name in names:
        history = (await house.get(name)).history
        assert [line.cause for line in history] == ["QUOTE_ACCEPTED", "CREATED_ON_CHAIN", "SETTLED_ON_CHAIN"]
    assert (await figures(house))["payout", "STX"] == 5 * len(names)

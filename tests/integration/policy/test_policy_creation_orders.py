"""A creation is one policy, whichever of wallet, chain and books speaks first, and is seen from the first moment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from services.policy.store_projection import Stream
from tests.integration.policy import events
from tests.integration.policy.harness import AS_HOLDER, AS_SERVICE, HOLDER, House
from tests.integration.policy.races import new_subject
from tests.integration.policy.test_policy_refusals import refusal

FINAL, TIP = gateway_pb2.EVENT_FINALITY_FINAL, gateway_pb2.EVENT_FINALITY_TIP
PENDING = policy_pb2.POLICY_STATE_PENDING_CREATION
ACTIVE, FAILED = policy_pb2.POLICY_STATE_ACTIVE, policy_pb2.POLICY_STATE_FAILED_CREATION


COUNT = "SELECT count(*) FROM policy.policy"
ORDERS = list(enumerate(itertools.permutations(("workflow", "tip", "final", "client")), 1))


async def speak(house: House, policy: policy_pb2.Policy, who: str, number: int) -> None:
    """One of those that can tell of a creation says it, and is heard."""
    if who == "workflow":
        await house.sign(policy.name)
    elif who == "tip":
        await house.gateway.deliver(TIP, events.created(policy, number))
        await house.until_projected(Stream.TIP, house.gateway.delivered(TIP))
    elif who == "final":
        await house.gateway.deliver(FINAL, events.created(policy, number), height=1001)
        await house.until_projected(Stream.FINAL, house.gateway.delivered(FINAL))
    else:
        # The holder's client repeats its call, as after a lost answer.
        assert (await house.create(f"create-{number}")).name == policy.name


@pytest.mark.parametrize(("number", "order"), ORDERS)
async def test_whoever_speaks_first_it_is_one_policy(shared_house: House, number: int, order: Sequence[str]) -> None:
    """In every order there is one row, ACTIVE once by its final event, with everything that each has told."""
    house, before = shared_house, await shared_house.value(COUNT)
    policy = await house.create(f"create-{number}")
    for who in order:
        await speak(house, policy, who, number)
    found = await house.get(policy.name)
    assert await house.value(COUNT) == before + 1
    assert (found.state, found.onchain_state, found.onchain_id) == (ACTIVE, policy_pb2.ONCHAIN_STATE_ACTIVE, number)
    assert len(found.quote_signature) == 65
    assert [line.cause for line in found.history] == ["QUOTE_ACCEPTED", "CREATED_ON_CHAIN"]


@pytest.mark.parametrize("late", ["workflow", "tip", "final"])
async def test_after_a_failure_it_stays_one_failed_policy(house: House, late: str) -> None:
    """What comes after FAILED_CREATION makes no second policy and does not bring it back."""
    policy = await house.create()
    await house.gateway.deliver(FINAL, height=policy.quote_expiration_burn_height)
    await house.until(policy.name, FAILED)
    if late == "workflow":
        request = pb.RecordSignedQuoteRequest(name=policy.name, signature=bytes(65))
        call = house.stub.RecordSignedQuote(request, metadata=AS_SERVICE)
        assert (await refusal(call)).reason == "NOT_PENDING"
    else:
        await speak(house, policy, late, 1)
    found = (await house.stub.ListPolicies(pb.ListPoliciesRequest(), metadata=AS_HOLDER)).policies
    assert [(one.name, one.state) for one in found] == [(policy.name, FAILED)]


async def test_a_policy_is_seen_before_anything_else_has_happened(house: House) -> None:
    """The moment CreatePolicy returns it is in the holder's list, by name, and in the stream; not yet on chain."""
    stream: Any = house.stub.WatchPolicies(pb.WatchPoliciesRequest(), metadata=AS_HOLDER)
    assert (await stream.read()).snapshot_complete
    policy = await house.create()
    listed = await house.stub.ListPolicies(pb.ListPoliciesRequest(states=[PENDING]), metadata=AS_HOLDER)
    assert [one.name for one in listed.policies] == [policy.name]
    assert await house.get(policy.name) == listed.policies[0]
    seen = (await stream.read()).policy
    assert (seen.name, seen.holder_principal, seen.onchain_id) == (policy.name, HOLDER, 0)
    assert (seen.onchain_state, seen.burn_confirmations) == (policy_pb2.ONCHAIN_STATE_NONE, 0)
    stream.cancel()


async def test_a_policy_that_the_chain_told_first_is_found_by_its_holder(house: House) -> None:
    """Adopted from its event, as after a rebuild, it is the holder's like any other; the event again adds nothing."""
    subject = await new_subject(house)
    stranger = policy_pb2.Policy()
    stranger.CopyFrom(subject.policy)
    stranger.quote_terms.policy = stranger.name = f"policies/{7:032x}"
    for _ in range(2):
        await house.gateway.deliver(FINAL, events.created(stranger, 900), height=1001)
        await house.until_projected(Stream.FINAL, house.gateway.delivered(FINAL))
    listed = await house.stub.ListPolicies(pb.ListPoliciesRequest(states=[ACTIVE]), metadata=AS_HOLDER)
    assert {one.name for one in listed.policies} == {subject.name, stranger.name}
    assert [line.cause for line in (await house.get(stranger.name)).history] == ["CREATED_ON_CHAIN"]

"""Queries: pages, filters, figures, streams, and repeats of a creation."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.rpc.caller import Role
from services.policy import watch
from tests.integration.policy import events
from tests.integration.policy.harness import (
    AS_HOLDER,
    AS_OPERATOR,
    AS_OTHER,
    AS_SERVICE,
    HOLDER,
    House,
    create_request,
)
from tests.integration.policy.stand_ins import SPOT
from tests.integration.policy.test_policy_life import activate, active_policy
from tests.integration.policy.test_policy_refusals import refusal
from tests.tokens import metadata

FINAL = gateway_pb2.EVENT_FINALITY_FINAL
ACTIVE = policy_pb2.POLICY_STATE_ACTIVE
PENDING = policy_pb2.POLICY_STATE_PENDING_CREATION


async def test_the_same_creation_twice_is_one_policy(house: House) -> None:
    """A repeat answers the first policy even at another price; another body is ALREADY_EXISTS."""
    first = await house.create()
    house.oracle.set_btc(SPOT * 2)
    again = await house.create()
    assert again.name == first.name
    assert again.premium == first.premium
    error = await refusal(house.stub.CreatePolicy(create_request("create-1", duration_blocks=200), metadata=AS_HOLDER))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert await house.value("SELECT count(*) FROM policy.policy") == 1
    await house.sign(first.name)
    assert (await house.create()).HasField("prepared_transaction")


async def test_concurrent_creations_of_one_request_are_one_policy(house: House) -> None:
    """Ten at once with one request id: one policy, one outbox row, one name in every answer."""
    policies = await asyncio.gather(*(house.create() for _ in range(10)))
    assert len({policy.name for policy in policies}) == 1
    assert len(await house.outbox("start")) == 1


async def test_request_ids_are_of_their_caller(house: House) -> None:
    """Two holders may use the same request id."""
    await house.create()
    other = await house.stub.CreatePolicy(create_request("create-1"), metadata=AS_OTHER)
    assert other.policy.holder_principal != HOLDER


async def test_pages_hold_every_policy_once_newest_first(house: House) -> None:
    """Pages of two of five policies of both tiers: no gap, no repeat; filters by state and tier hold."""
    created = [await house.create(f"create-{number}") for number in range(4)]
    created.append(await house.create("create-4", strike_price_usd_e8=SPOT))
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListPoliciesRequest(page_size=2, page_token=token)
        answer = await house.stub.ListPolicies(request, metadata=AS_HOLDER)
        seen += [policy.name for policy in answer.policies]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [policy.name for policy in reversed(created)]
    for tier, count in ((money_pb2.TIER_CONSERVATIVE, 4), (money_pb2.TIER_BALANCED, 1), (money_pb2.TIER_AGGRESSIVE, 0)):
        request = pb.ListPoliciesRequest(tier=tier, states=[PENDING])
        assert len((await house.stub.ListPolicies(request, metadata=AS_OPERATOR)).policies) == count
    request = pb.ListPoliciesRequest(states=[ACTIVE])
    assert not (await house.stub.ListPolicies(request, metadata=AS_HOLDER)).policies


async def test_expiring_policies_are_listed_by_height(house: House) -> None:
    """Both bounds are inclusive, only ACTIVE policies count, pages go on by height."""
    policies = [await house.create(f"create-{blocks}", duration_blocks=blocks) for blocks in (150, 144, 160)]
    made = [events.created(policy, number) for number, policy in enumerate(policies, 1)]
    await house.gateway.deliver(FINAL, *made)
    await house.until(policies[2].name, ACTIVE)
    request = pb.ListExpiringPoliciesRequest(from_burn_height=1144, to_burn_height=1150, page_size=1)
    first = await house.stub.ListExpiringPolicies(request, metadata=AS_SERVICE)
    request.page_token = first.next_page_token
    second = await house.stub.ListExpiringPolicies(request, metadata=AS_SERVICE)
    heights = [policy.expiration_burn_height for policy in (*first.policies, *second.policies)]
    assert heights == [1144, 1150]
    assert not second.next_page_token


async def test_totals_are_listed_by_onchain_id(house: House) -> None:
    """Reconciliation sees every policy that is on chain, with the height of the books."""
    policies = [await house.create(f"create-{number}") for number in range(3)]
    made = [events.created(policy, number) for number, policy in enumerate(policies, 1)]
    await house.gateway.deliver(FINAL, *made, height=1001)
    await house.until(policies[2].name, ACTIVE)
    request = pb.ListPolicyTotalsRequest(page_size=2)
    first = await house.stub.ListPolicyTotals(request, metadata=AS_SERVICE)
    assert (first.next_after_onchain_id, first.projected_burn_height) == (2, 1001)
    request.after_onchain_id = 2
    second = await house.stub.ListPolicyTotals(request, metadata=AS_SERVICE)
    assert [total.onchain_id for total in (*first.policies, *second.policies)] == [1, 2, 3]
    assert second.next_after_onchain_id == 0
    creation = made[2].policy_created
    assert second.policies[0].terms == creation.terms
    assert second.policies[0].created_burn_height == creation.created_burn_height
    assert second.policies[0].grace_blocks == creation.grace_blocks


async def read(stream: Any) -> pb.WatchPolicyResponse:
    """The next answer of a stream."""
    answer = await asyncio.wait_for(stream.read(), 60)
    assert isinstance(answer, pb.WatchPolicyResponse)
    return answer


async def test_a_watcher_sees_every_state_and_resumes(house: House) -> None:
    """Snapshot, then changes; a resumed stream starts with what is newer than its token and repeats nothing."""
    policy = await active_policy(house)
    stream = house.stub.WatchPolicy(pb.WatchPolicyRequest(name=policy.name), metadata=AS_HOLDER)
    snapshot = await read(stream)
    assert (snapshot.policy.state, snapshot.resume_token) == (ACTIVE, str(snapshot.policy.version))
    await activate(house, policy.name)
    change = await read(stream)
    assert change.policy.state == policy_pb2.POLICY_STATE_SETTLING
    stream.cancel()
    request = pb.WatchPolicyRequest(name=policy.name, resume_token=snapshot.resume_token)
    resumed = house.stub.WatchPolicy(request, metadata=AS_HOLDER)
    assert await read(resumed) == change
    await house.gateway.deliver(FINAL, events.settled(policy, 5))
    assert (await read(resumed)).policy.state == policy_pb2.POLICY_STATE_SETTLED
    resumed.cancel()
    request.resume_token = change.resume_token
    last = house.stub.WatchPolicy(request, metadata=AS_HOLDER)
    assert (await read(last)).policy.state == policy_pb2.POLICY_STATE_SETTLED
    last.cancel()


async def test_many_watchers_are_told_of_one_change(house: House) -> None:
    """A hundred streams on one policy all see its activation."""
    policy = await active_policy(house)
    request = pb.WatchPolicyRequest(name=policy.name)
    streams = [house.stub.WatchPolicy(request, metadata=AS_HOLDER) for _ in range(100)]
    await asyncio.gather(*(read(stream) for stream in streams))
    await activate(house, policy.name)
    changes = await asyncio.gather(*(read(stream) for stream in streams))
    assert {change.policy.state for change in changes} == {policy_pb2.POLICY_STATE_SETTLING}
    for stream in streams:
        stream.cancel()


async def test_history_cannot_be_changed(house: House) -> None:
    """The database refuses to change or delete a line of history."""
    await house.create()
    for statement in ("UPDATE policy.policy_history SET cause = ''", "DELETE FROM policy.policy_history"):
        try:
            async with house.database.engine.begin() as connection:
                await connection.execute(sa.text(statement))
        except sa.exc.DBAPIError as error:
            refused = str(error)
        else:
            refused = ""
        assert "append-only" in refused


async def test_explained_is_what_was_quoted(house: House) -> None:
    """ExplainPremium answers the items of the premium as they were at the quote, at any later price."""
    policy = await house.create()
    house.oracle.set_btc(SPOT * 2)
    request = pb.ExplainPremiumRequest(name=policy.name)
    answer = await house.stub.ExplainPremium(request, metadata=AS_HOLDER)
    breakdown, moved = answer.breakdown, answer.sensitivities
    assert breakdown.btc_price_usd_e8 == SPOT
    assert -policy.protected_amount_sats < moved.spot_delta_sats < 0 < moved.spot_delta_sats_per_percent
    assert moved.day_delta_usd_e8 < 0 < moved.volatility_delta_usd_e8
    assert breakdown.premium == policy.premium
    assert breakdown.fee == policy.fee
    both = metadata(HOLDER, Role.HOLDER, Role.PROVIDER)
    assert (await house.stub.ExplainPremium(request, metadata=both)).breakdown == breakdown


async def test_a_reader_that_does_not_read_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves a change untaken for too long is ended; others go on."""
    policy = await active_policy(house)
    monkeypatch.setattr(watch, "_SLOW_READER_SECONDS", 0.0)
    watchers, stuck, reading = (
        watch.Watchers(house.database, house.sources.burn_height),
        asyncio.Event(),
        asyncio.Event(),
    )

    async def slow_reader() -> None:
        async for _ in watchers.changes(policy.name[9:], 0):
            reading.set()
            await stuck.wait()

    reader, listener = asyncio.ensure_future(slow_reader()), asyncio.ensure_future(watchers.run())
    await asyncio.wait_for(reading.wait(), 60)
    await activate(house, policy.name)
    await asyncio.wait([reader], timeout=60)
    assert reader.cancelled()
    assert not listener.done()
    listener.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listener

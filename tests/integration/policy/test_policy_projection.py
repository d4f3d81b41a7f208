"""What the chain says, projected: once, in any order of the world, in both directions."""

from __future__ import annotations

import asyncio

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.errors import Aborted
from services.policy.store_projection import Stream
from tests.integration.policy import events
from tests.integration.policy.harness import AS_HOLDER, AS_OPERATOR, AS_SERVICE, HOLDER, VAULT, House, create_request
from tests.integration.policy.stand_ins import USD
from tests.integration.policy.test_policy_life import activate, active_policy, record_receipt
from tests.integration.policy.test_policy_refusals import refusal

FINAL = gateway_pb2.EVENT_FINALITY_FINAL
TIP = gateway_pb2.EVENT_FINALITY_TIP
ACTIVE = policy_pb2.POLICY_STATE_ACTIVE
EXPIRING = policy_pb2.POLICY_STATE_EXPIRING


async def due_policy(house: House) -> policy_pb2.Policy:
    """A policy that the sweeper has claimed."""
    policy = await active_policy(house)
    await house.gateway.deliver(FINAL, height=policy.expiration_burn_height + events.GRACE + 1)
    return await house.until(policy.name, EXPIRING)


async def test_the_same_events_twice_change_once(house: House) -> None:
    """Events delivered again, as after a lost cursor, leave policy, history and figures as they were."""
    policy = await house.create()
    life = [events.created(policy), events.settled(policy, 5)]
    await house.gateway.deliver(FINAL, *life)
    first = await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    stats = await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest())
    await house.gateway.deliver(FINAL, *life)
    await house.until_projected(Stream.FINAL, 2)
    assert await house.get(policy.name) == first
    assert await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest()) == stats
    assert {count.state: count.count for count in stats.counts}[policy_pb2.POLICY_STATE_SETTLED] == 1
    assert stats.premiums[0] == policy.premium
    assert stats.payouts[0].base_units == 5


async def test_an_answer_is_applied_only_after_its_cursor(house: House) -> None:
    """Of two replicas with the same answer one applies it; the other finds the cursor moved."""
    policy = await house.create()
    answer = gateway_pb2.WatchEventsResponse(events=[events.created(policy)], cursor="1", delivered_burn_height=1001)
    answer.tip.CopyFrom(house.gateway.tip)
    await house.gateway.deliver(FINAL, events.created(policy), height=1001)
    await house.until(policy.name, ACTIVE)
    with pytest.raises(Aborted, match="projected beyond"):
        await house.projectors[Stream.FINAL].apply("", answer)


async def test_the_event_may_come_before_the_signature_is_stored(house: House) -> None:
    """A creation is recognised by its policy id: a late RecordSignedQuote stores the signature and no more."""
    policy = await house.create()
    await house.gateway.deliver(FINAL, events.created(policy))
    await house.until(policy.name, ACTIVE)
    late = await house.sign(policy.name)
    assert (late.state, len(late.quote_signature)) == (ACTIVE, 65)
    assert not late.HasField("prepared_transaction")


async def test_an_unpaid_quote_ends_when_its_last_height_is_final(house: House) -> None:
    """FAILED_CREATION one delivered height after not before; the workflow is told; a late event is only noted."""
    policy = await house.create()
    await house.sign(policy.name)
    await house.gateway.deliver(FINAL, height=1005)
    await house.until_projected(Stream.FINAL, 1)
    assert (await house.get(policy.name)).state == policy_pb2.POLICY_STATE_PENDING_CREATION
    await house.gateway.deliver(FINAL, height=1006)
    failed = await house.until(policy.name, policy_pb2.POLICY_STATE_FAILED_CREATION)
    assert failed.reason == "QUOTE_NOT_PAID"
    assert (await house.outbox("signal"))[0]["argument"] == "FAILED_CREATION"
    await house.gateway.deliver(FINAL, events.created(policy))
    await house.until_projected(Stream.FINAL, 3)
    noted = await house.get(policy.name)
    assert (noted.state, noted.onchain_id) == (policy_pb2.POLICY_STATE_FAILED_CREATION, 1)
    assert noted.history[-1].cause == "CREATED_AFTER_FAILURE"


async def test_paid_at_the_last_height_is_created(house: House) -> None:
    """The event of the quote's last height comes with that height's delivery and wins."""
    policy = await house.create()
    await house.gateway.deliver(FINAL, events.created(policy, burn_height=1006), height=1006)
    assert (await house.until(policy.name, ACTIVE)).creation_burn_height == 1006


async def test_a_policy_that_the_books_do_not_know_is_adopted(house: House) -> None:
    """The row is made from the event, which has every term; what only a quote knows is refused plainly."""
    policy = await house.create()
    policy.quote_terms.policy = policy.name = f"policies/{7:032x}"
    await house.gateway.deliver(FINAL, events.created(policy, 9))
    adopted = await house.until_known(9)
    assert (adopted.name, adopted.holder_principal, adopted.state) == (policy.name, HOLDER, ACTIVE)
    assert adopted.quote_terms == policy.quote_terms
    assert adopted.counterparty_principal == VAULT
    request = pb.ExplainPremiumRequest(name=policy.name)
    assert (await refusal(house.stub.ExplainPremium(request, metadata=AS_OPERATOR))).reason == "NO_BREAKDOWN"


async def test_strange_events_do_not_stop_the_projector(house: House) -> None:
    """Ends of unknown policies, malformed ids and refusals of unknown numbers are passed over."""
    policy = await house.create()
    stranger, malformed = policy_pb2.Policy(), policy_pb2.Policy()
    stranger.CopyFrom(policy)
    stranger.name = f"policies/{8:032x}"
    malformed.CopyFrom(policy)
    malformed.name = malformed.quote_terms.policy = "policies/07"
    strange = [
        events.settled(stranger, 1, 77),
        events.expired(stranger, 78),
        events.created(malformed, 79),
        events.refused(80, 3024),
        events.settled(policy, 1),
    ]
    await house.gateway.deliver(FINAL, *strange, events.created(policy))
    await house.until(policy.name, ACTIVE)


async def test_the_tip_moves_only_what_the_chain_says(house: House) -> None:
    """Events at the tip move `onchain_state` forth and back with their withdrawal, and never `state`."""
    policy = await house.create()
    for event, expected in (
        (events.created(policy), policy_pb2.ONCHAIN_STATE_ACTIVE),
        (events.created(policy, withdrawn=True), policy_pb2.ONCHAIN_STATE_NONE),
        (events.created(policy, 2), policy_pb2.ONCHAIN_STATE_ACTIVE),
        (events.settled(policy, 5, 2), policy_pb2.ONCHAIN_STATE_SETTLED),
        (events.settled(policy, 5, 2, withdrawn=True), policy_pb2.ONCHAIN_STATE_ACTIVE),
    ):
        await house.gateway.deliver(TIP, event)
        async with asyncio.timeout(60):
            while (seen := await house.get(policy.name)).onchain_state != expected:
                await asyncio.sleep(0.01)
        assert seen.state == policy_pb2.POLICY_STATE_PENDING_CREATION
    assert (seen.onchain_id, seen.creation_txid, seen.last_status_txid) == (2, "c2", "c2")
    await house.set_tip(1004)
    assert (await house.get(policy.name)).burn_confirmations == 3


async def test_both_streams_at_once_never_block_each_other(house: House) -> None:
    """Both streams with the same forty policies in opposite orders, and calls meanwhile: all are applied."""
    policies = [await house.create(f"create-{number}") for number in range(40)]
    made = [events.created(policy, number) for number, policy in enumerate(policies, 1)]
    ended = [events.settled(policy, 5, number) for number, policy in enumerate(policies, 1)]
    await asyncio.gather(
        *(house.gateway.deliver(TIP, *part) for part in (made[::-1], ended)),
        *(house.gateway.deliver(FINAL, *part) for part in (made, ended[::-1])),
        *(house.sign(policy.name) for policy in policies),
    )
    await house.until_projected(Stream.TIP, 2)
    await house.until_projected(Stream.FINAL, 2)
    stats = await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest())
    assert {count.state: count.count for count in stats.counts}[policy_pb2.POLICY_STATE_SETTLED] == 40
    seen = await house.get(policies[0].name)
    assert (seen.onchain_state, seen.creation_txid, seen.last_status_txid) == (
        policy_pb2.ONCHAIN_STATE_SETTLED,
        "c1",
        "s1",
    )


async def test_a_settlement_by_the_holder_overtakes_the_workflow(house: House) -> None:
    """Settled on chain while SETTLING: a receipt that arrives later is stored, with nothing more to do."""
    policy = await activate(house, (await active_policy(house)).name)
    await house.gateway.deliver(FINAL, events.settled(policy, 5))
    await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    answer = await record_receipt(house, policy, 80_000 * USD)
    assert not answer.in_the_money
    assert answer.policy.state == policy_pb2.POLICY_STATE_SETTLED
    assert answer.policy.activation_receipt.btc_price_usd_e8 == 80_000 * USD
    assert [signal["signal"] for signal in await house.outbox("signal")] == ["creation_ended"]


async def test_expiry_overtakes_an_activation(house: House) -> None:
    """Expired on chain while SETTLING is recorded and alerts; the settle workflow is told."""
    policy = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, policy, 80_000 * USD)
    await house.gateway.deliver(FINAL, events.expired(policy))
    ended = await house.until(policy.name, policy_pb2.POLICY_STATE_EXPIRED)
    assert ended.history[-1].from_state == policy_pb2.POLICY_STATE_SETTLING
    assert (await house.outbox("signal"))[-1]["argument"] == "EXPIRED"


async def test_an_expiring_policy_cannot_be_activated(house: House) -> None:
    """Expiry and activation never both have a policy."""
    policy = await due_policy(house)
    assert (await refusal(activate(house, policy.name))).reason == "NOT_ACTIVE"


async def test_a_policy_refused_at_expiry_waits_before_its_next_batch(house: House) -> None:
    """A refused id is ACTIVE again with the reason, and swept again six final heights later."""
    policy = await due_policy(house)
    height = policy.expiration_burn_height + events.GRACE + 1
    await house.gateway.deliver(FINAL, events.refused(1, 3024, height + 1), height=height + 1)
    back = await house.until(policy.name, ACTIVE)
    assert back.reason == "u3024"
    assert await house.sweeper.claim_batch() is None
    await house.gateway.deliver(FINAL, height=height + 7)
    again = await house.until(policy.name, EXPIRING)
    assert [line.cause.partition(":")[0] for line in again.history[-2:]] == ["REFUSED_AT_EXPIRY", "EXPIRATION_FINAL"]


async def test_a_strangers_expiry_takes_no_policy_out_of_its_batch(house: House) -> None:
    """Anyone may have the registry refuse an id; only the refusal of a transaction of ours counts."""
    policy = await due_policy(house)
    height = policy.expiration_burn_height + events.GRACE + 1
    stranger = events.refused(1, 3024, height + 1, backend_fee_ustx=0)
    await house.gateway.deliver(FINAL, stranger, height=height + 1)
    await house.gateway.deliver(FINAL, events.settled(policy, 1, burn_height=height + 2), height=height + 2)
    settled = await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    assert [line.from_state for line in settled.history][-1] == EXPIRING


async def test_a_refused_batch_gives_its_policies_back(house: House) -> None:
    """ReleaseExpiryBatch returns what is still open, once."""
    policy = await due_policy(house)
    name = (await house.outbox("start"))[-1]["input"]["batch"]
    request = pb.ReleaseExpiryBatchRequest(name=name, reason="u3021")
    for _ in range(2):
        assert (await house.stub.ReleaseExpiryBatch(request, metadata=AS_SERVICE)).batch.open_count == 0
    released = await house.get(policy.name)
    assert (released.state, released.history[-1].cause) == (ACTIVE, "BATCH_RELEASED: u3021")


async def test_a_withdrawn_final_event_is_reversed_and_stops_creation(house: House) -> None:
    """A reorganisation deeper than finality reverses state and figures, and creation stops until a person resumes."""
    policy = await activate(house, (await active_policy(house)).name)
    await house.gateway.deliver(FINAL, events.settled(policy, 5))
    await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    await house.gateway.deliver(FINAL, events.settled(policy, 5, withdrawn=True))
    back = await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLING)
    assert back.history[-1].cause == "REORGANISED"
    stats = await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest())
    assert stats.payouts[0].base_units == 0
    call = house.stub.CreatePolicy(create_request("create-2"), metadata=AS_HOLDER)
    assert (await refusal(call)).reason == "CREATION_STOPPED"
    await house.gateway.deliver(FINAL, events.created(policy, withdrawn=True))
    gone = await house.until(policy.name, policy_pb2.POLICY_STATE_PENDING_CREATION)
    assert (gone.onchain_id, gone.creation_txid) == (0, "")
    request = pb.ResumeCreationRequest(request_id="resume-1")
    resumed = await house.stub.ResumeCreation(request, metadata=AS_OPERATOR)
    assert resumed.stop_reason.startswith("a final block was withdrawn")
    assert (await house.create("create-2")).state == policy_pb2.POLICY_STATE_PENDING_CREATION


async def test_a_withdrawn_end_never_waits_for_a_workflow_that_has_closed(house: House) -> None:
    """Settled on a receipt: an operator settles again. Ended in a batch: swept again."""
    settled = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, settled, 80_000 * USD)
    await house.gateway.deliver(FINAL, events.settled(settled, 5))
    await house.until(settled.name, policy_pb2.POLICY_STATE_SETTLED)
    await house.gateway.deliver(FINAL, events.settled(settled, 5, withdrawn=True))
    await house.until(settled.name, policy_pb2.POLICY_STATE_FAILED_SETTLEMENT)
    retry = pb.RetrySettlementRequest(request_id="retry-1", name=settled.name)
    again = (await house.stub.RetrySettlement(retry, metadata=AS_OPERATOR)).policy
    assert again.state == policy_pb2.POLICY_STATE_SETTLING
    await house.gateway.deliver(FINAL, events.settled(settled, 5))
    assert (await house.until(settled.name, policy_pb2.POLICY_STATE_SETTLED)).payout.base_units == 5


async def test_a_withdrawn_expiry_is_swept_again(house: House) -> None:
    """The batch's workflow is over, so another batch takes the policy."""
    policy = await due_policy(house)
    await house.gateway.deliver(FINAL, events.expired(policy))
    await house.until(policy.name, policy_pb2.POLICY_STATE_EXPIRED)
    await house.gateway.deliver(FINAL, events.expired(policy, withdrawn=True))
    back = await house.until(policy.name, EXPIRING)
    assert [line.cause.partition(":")[0] for line in back.history[-2:]] == ["REORGANISED", "EXPIRATION_FINAL"]
    assert len([start for start in await house.outbox("start") if start["workflow"] == "ExpirePolicies"]) == 2


async def test_ends_of_one_answer_are_those_of_one_event_each(house: House) -> None:
    """Claimed policies that end together are as if each had ended alone: once, in state, history and figures."""
    paid, unpaid, later = [await house.create(name) for name in ("one", "two", "three")]
    for policy in (paid, unpaid, later):
        await house.sign(policy.name)
    creations = [events.created(policy, number) for number, policy in enumerate((paid, unpaid, later), 1)]
    await house.gateway.deliver(FINAL, *creations, height=paid.expiration_burn_height + events.GRACE + 1)
    await house.until(unpaid.name, EXPIRING)
    await house.until(paid.name, EXPIRING)
    await house.until(later.name, EXPIRING)
    ends = [events.settled(paid, 5, 1, 1200), events.expired(unpaid, 2)]
    await house.gateway.deliver(TIP, *creations, *ends)
    await house.gateway.deliver(FINAL, *ends)
    settled = await house.until(paid.name, policy_pb2.POLICY_STATE_SETTLED)
    expired = await house.until(unpaid.name, policy_pb2.POLICY_STATE_EXPIRED)
    assert (settled.payout.base_units, expired.payout.base_units) == (5, 0)
    await house.gateway.deliver(FINAL, *ends, events.expired(later, 3))
    await house.until_projected(Stream.FINAL, 3)
    assert [await house.get(paid.name), await house.get(unpaid.name)] == [settled, expired]
    stats = await house.stub.GetPlatformStats(pb.GetPlatformStatsRequest())
    counts = {count.state: count.count for count in stats.counts}
    assert (counts[policy_pb2.POLICY_STATE_SETTLED], counts[policy_pb2.POLICY_STATE_EXPIRED]) == (1, 2)

"""ActivatePolicy and SettlePolicy on a real Temporal server."""

from __future__ import annotations

import uuid

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.type.v1 import money_pb2

from kernel.errors import FailedPrecondition
from tests.workflows.stand_ins import (
    ABORTED,
    CANCELLED,
    CONFIRMED,
    RECEIPT,
    REGISTRY_REFUSES,
    policy_in,
    unavailable,
)
from tests.workflows.world import World, eventually, labels, open_world, start_temporal
from workflows.contract import (
    ActivatePolicyInput,
    SettlePolicyInput,
    SignalName,
    Start,
    settle_policy_workflow_id,
    start_activate_policy,
    start_settle_policy,
)

REQUEST_TIME = 1_584_000_000.25


def activation(number: int = 1) -> Start:
    """An activation of a new policy."""
    return start_activate_policy(ActivatePolicyInput(labels(f"policies/{uuid.uuid4().hex}"), number, 900, REQUEST_TIME))


def settlement(run: int = 0) -> Start:
    """A settlement of a new policy."""
    return start_settle_policy(SettlePolicyInput(labels(f"policies/{uuid.uuid4().hex}"), 1, run))


def keys(world: World) -> list[str]:
    """The keys under which something was submitted, without repeats, in order."""
    return list(dict.fromkeys(asked.key for asked in world.script.asked("CreateIntent")))


async def ended(world: World, workflow_id: str, state: str = "SETTLED") -> dict[str, object]:
    """The chain's word, and what the workflow makes of it."""
    await world.signal(workflow_id, SignalName.SETTLEMENT_ENDED, state)
    return await world.result(workflow_id)


async def test_out_of_the_money_nothing_is_settled(world: World) -> None:
    """The receipt decides: the policy is ACTIVE again and no child ever starts."""
    start = activation()
    policy = start.input.labels.policy
    active = policy_pb.RecordActivationReceiptResponse(policy=policy_in("ACTIVE", policy), in_the_money=False)
    world.script.on("RecordActivationReceipt", active)
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "ACTIVE"
    assert not await world.exists(settle_policy_workflow_id(policy, 1))
    assert (await world.attributes(start.workflow_id))["PolicyState"] == "ACTIVE"


async def test_in_the_money_a_child_settles_on_the_receipt(world: World) -> None:
    """The request as recorded makes the receipt; the child submits it under its own key and takes over the labels."""
    world.gateway.plan(CONFIRMED)
    start = activation(number=3)
    policy = start.input.labels.policy
    child = settle_policy_workflow_id(policy, 3)
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("CreateIntent")))
    await ended(world, child)
    assert (await world.result(start.workflow_id))["state"] == "SETTLED"
    [asked] = world.script.asked("CreateActivationReceipt")
    assert (asked.policy, asked.activation_number, asked.request_burn_height) == (policy, 3, 900)
    assert asked.request_market_time.ToMicroseconds() == int(REQUEST_TIME * 1_000_000)
    [recorded] = world.script.asked("RecordActivationReceipt")
    assert (recorded.name, recorded.activation_number, recorded.receipt) == (policy, 3, RECEIPT)
    [submitted] = world.script.asked("CreateIntent")
    assert submitted.key == f"settle/{policy.rpartition('/')[2]}/3/submit/0"
    call = submitted.call.settle_policy
    assert (call.onchain_id, call.receipt, call.btc_round, call.stx_round) == (5, RECEIPT, 31, 32)
    assert (call.max_payout.token, call.max_payout.base_units) == (1, 1_000)
    attributes = await world.attributes(child)
    assert attributes == await world.attributes(start.workflow_id)
    assert (attributes["Holder"], attributes["PolicyState"]) == ("ST1HOLDER", "SETTLED")


async def test_a_receipt_in_the_money_that_the_policy_has_decides(world: World) -> None:
    """The oracle signs no second one, such as after a request on chain: the policy is settled on the first."""
    world.gateway.plan(CONFIRMED)
    binding = FailedPrecondition("RECEIPT_IN_THE_MONEY", "settled on that alone", activation_number=1_000_000_001)
    world.script.on("CreateActivationReceipt", binding)
    start = activation(number=2)
    policy = start.input.labels.policy
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("CreateIntent")))
    await ended(world, settle_policy_workflow_id(policy, 2))
    assert (await world.result(start.workflow_id))["state"] == "SETTLED"
    [found] = world.script.asked("GetReceipt")
    assert (found.activation.policy, found.activation.activation_number) == (policy, 1_000_000_001)
    [recorded] = world.script.asked("RecordActivationReceipt")
    assert (recorded.activation_number, recorded.receipt) == (2, RECEIPT)


@pytest.mark.parametrize(("token", "stx_price"), [(money_pb2.TOKEN_STX, 2), (money_pb2.TOKEN_SBTC, 0)])
async def test_the_rounds_must_agree_with_the_receipt_as_far_as_the_contract_looks(
    world: World, token: money_pb2.Token.ValueType, stx_price: int
) -> None:
    """Both prices of the receipt for a policy settled in STX; the BTC price alone for one settled in sBTC."""
    world.gateway.plan(CONFIRMED)
    world.script.on("GetPolicy", policy_pb.GetPolicyResponse(policy=policy_in("SETTLING", token=token)))
    start = settlement()
    await world.start(start)
    await eventually(lambda: bool(world.gateway.intents))
    await ended(world, start.workflow_id)
    [asked] = world.script.asked("EnsurePublishedRounds")
    assert (asked.burn_height, asked.btc_price_usd_e8, asked.stx_price_usd_e8) == (900, 7, stx_price)


async def test_a_receipt_and_rounds_that_are_not_there_yet_are_awaited(world: World) -> None:
    """An activation stays honoured while there is no price, and while no round is published near it."""
    world.gateway.plan(CONFIRMED)
    world.script.on("CreateActivationReceipt", unavailable("NO_ROUND_YET"), unavailable("NO_ROUND_YET"))
    world.script.on("EnsurePublishedRounds", unavailable("PUBLICATION_IN_FLIGHT"))
    start = activation()
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("CreateIntent")))
    await ended(world, settle_policy_workflow_id(start.input.labels.policy, 1))
    assert (await world.result(start.workflow_id))["state"] == "SETTLED"
    assert len(world.script.asked("CreateActivationReceipt")) == 3
    assert len(world.script.asked("EnsurePublishedRounds")) == 2


async def test_an_aborted_attempt_is_followed_by_one_under_a_new_key(world: World) -> None:
    """Refused for now (the policy stays SETTLING): told with the contract's error, then tried again as a new intent."""
    world.gateway.plan(ABORTED, CONFIRMED)
    start = settlement()
    await world.start(start)
    await eventually(lambda: len(world.gateway.intents) == 2)
    result = await ended(world, start.workflow_id)
    assert result["state"] == "SETTLED"
    assert keys(world) == [f"{start.workflow_id}/submit/0", f"{start.workflow_id}/submit/1"]
    [refused] = world.script.asked("RecordSettlementRefusal")
    assert (refused.name, refused.activation_number) == (start.input.labels.policy, 1)
    assert (refused.contract_error, refused.reason) == (REGISTRY_REFUSES, "settlement is paused")
    assert len(world.script.asked("EnsurePublishedRounds")) == 2


async def test_a_cancelled_intent_is_replaced_without_calling_it_a_refusal(world: World) -> None:
    """What never reached the contract is submitted again under a new key; the policy service hears nothing of it."""
    world.gateway.plan(CANCELLED, CONFIRMED)
    start = settlement()
    await world.start(start)
    await eventually(lambda: len(world.gateway.intents) == 2)
    assert (await ended(world, start.workflow_id))["state"] == "SETTLED"
    assert keys(world) == [f"{start.workflow_id}/submit/0", f"{start.workflow_id}/submit/1"]
    assert not world.script.asked("RecordSettlementRefusal")


async def test_a_long_settlement_goes_on_in_a_new_run() -> None:
    """Before its history reaches the server's limit, which would end it; attempts are counted on, under one id."""
    environment = await start_temporal("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=20")
    async with open_world(environment.client) as world, world.worker():
        world.gateway.plan(CANCELLED, CANCELLED, CANCELLED, CONFIRMED)
        start = settlement()
        await world.start(start)
        await eventually(lambda: len(world.gateway.intents) == 4)
        assert (await ended(world, start.workflow_id))["state"] == "SETTLED"
        runs = [one async for one in world.client.list_workflows(f"WorkflowId = '{start.workflow_id}'")]
    await environment.shutdown()
    assert keys(world) == [f"{start.workflow_id}/submit/{attempt}" for attempt in range(4)]
    assert len(runs) > 1


async def test_a_refusal_for_good_ends_the_settlement(world: World) -> None:
    """FAILED_SETTLEMENT closes the workflow with its reason; nothing more is submitted."""
    world.gateway.plan(ABORTED)
    start = settlement()
    failed = policy_in("FAILED_SETTLEMENT", start.input.labels.policy, "u3016 the rounds disagree")
    world.script.on("RecordSettlementRefusal", policy_pb.RecordSettlementRefusalResponse(policy=failed))
    await world.start(start)
    result = await world.result(start.workflow_id)
    assert (result["state"], result["reason"]) == ("FAILED_SETTLEMENT", "u3016 the rounds disagree")
    assert len(world.gateway.intents) == 1
    assert (await world.attributes(start.workflow_id))["PolicyState"] == "FAILED_SETTLEMENT"


async def test_a_settlement_that_no_service_accepts_fails_where_an_operator_sees_it(world: World) -> None:
    """No round is left to publish near the receipt: the policy service hears it and decides; nothing hangs."""
    start = settlement()
    failed = policy_in("FAILED_SETTLEMENT", start.input.labels.policy, "u0 NO_ROUND_NEAR")
    world.script.on("EnsurePublishedRounds", FailedPrecondition("NO_ROUND_NEAR", "none is left"))
    world.script.on("RecordSettlementRefusal", policy_pb.RecordSettlementRefusalResponse(policy=failed))
    await world.start(start)
    assert (await world.result(start.workflow_id))["state"] == "FAILED_SETTLEMENT"
    [refused] = world.script.asked("RecordSettlementRefusal")
    assert (refused.contract_error, refused.reason) == (0, "NO_ROUND_NEAR")
    assert not world.script.asked("CreateIntent")


async def test_a_lost_answer_does_not_change_the_call_under_its_key(world: World) -> None:
    """The gateway accepted an intent and its answer was lost: the same rounds are submitted again, as one intent."""
    world.gateway.plan(CONFIRMED)
    world.gateway.lost_answers = 1
    world.script.on(
        "EnsurePublishedRounds",
        oracle_pb.EnsurePublishedRoundsResponse(btc_round=41, stx_round=42),
        oracle_pb.EnsurePublishedRoundsResponse(btc_round=51, stx_round=52),
    )
    start = settlement()
    await world.start(start)
    await eventually(lambda: bool(world.script.asked("WatchIntent")))
    assert (await ended(world, start.workflow_id))["state"] == "SETTLED"
    rounds = [asked.call.settle_policy.btc_round for asked in world.script.asked("CreateIntent")]
    assert rounds == [41, 41]
    assert not world.script.asked("RecordSettlementRefusal")


async def test_the_chain_may_speak_first(world: World) -> None:
    """Settled by the holder while our intent hangs: the workflow closes at once and follows it no longer."""
    start = settlement()
    await world.start(start)
    await eventually(lambda: world.gateway.streams == 1)
    assert (await ended(world, start.workflow_id, "SETTLED"))["state"] == "SETTLED"
    assert not world.script.asked("RecordSettlementRefusal")


async def test_the_chain_may_speak_before_a_round_is_published(world: World) -> None:
    """While rounds are still awaited the chain's word ends the settlement too; nothing is submitted."""
    world.script.on("EnsurePublishedRounds", *[unavailable("PUBLICATION_IN_FLIGHT")] * 50)
    start = settlement()
    await world.start(start)
    await eventually(lambda: len(world.script.asked("EnsurePublishedRounds")) > 1)
    assert (await ended(world, start.workflow_id, "EXPIRED"))["state"] == "EXPIRED"
    assert not world.script.asked("CreateIntent")


async def test_the_chains_word_cuts_a_pause_between_attempts(world: World) -> None:
    """Between two attempts the signal ends the settlement instead of a further attempt."""
    world.gateway.plan(*[ABORTED] * 20)
    start = settlement()
    await world.start(start)
    await eventually(lambda: len(world.gateway.intents) == 3)
    result = await ended(world, start.workflow_id)
    assert result["state"] == "SETTLED"
    assert len(world.gateway.intents) <= 4


async def test_an_operators_retry_is_a_workflow_of_its_own(world: World) -> None:
    """Run 2 has its own id, so that its keys are new to the gateway."""
    world.gateway.plan(CONFIRMED)
    start = settlement(run=2)
    await world.start(start)
    await eventually(lambda: bool(world.gateway.intents))
    await ended(world, start.workflow_id)
    assert start.workflow_id.endswith("/1/retry-2")
    assert keys(world) == [f"{start.workflow_id}/submit/0"]

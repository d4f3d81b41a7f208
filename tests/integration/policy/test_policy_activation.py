"""Activations: idempotent, judged by observation, decided once; refusals and retries of settlements."""

from __future__ import annotations

import asyncio
import datetime as dt

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.clock import wall_now
from tests.integration.policy import events
from tests.integration.policy.harness import AS_HOLDER, AS_OPERATOR, AS_SERVICE, House
from tests.integration.policy.stand_ins import USD
from tests.integration.policy.test_policy_life import activate, active_policy, record_receipt
from tests.integration.policy.test_policy_refusals import refusal

FINAL = gateway_pb2.EVENT_FINALITY_FINAL
ACTIVE = policy_pb2.POLICY_STATE_ACTIVE
SETTLING = policy_pb2.POLICY_STATE_SETTLING
FAILED = policy_pb2.POLICY_STATE_FAILED_SETTLEMENT


async def refuse(house: House, policy: policy_pb2.Policy, error: int) -> policy_pb2.Policy:
    """What the settle workflow says of a refusal by the contract."""
    request = pb.RecordSettlementRefusalRequest(
        name=policy.name, activation_number=policy.activation_number, contract_error=error, reason="refused"
    )
    return (await house.stub.RecordSettlementRefusal(request, metadata=AS_SERVICE)).policy


async def test_the_same_activation_twice_is_one(house: House) -> None:
    """The same request id answers the first answer, with the policy as it was then; another body is refused."""
    policy = await active_policy(house)
    first = await activate(house, policy.name)
    await record_receipt(house, first, 95_000 * USD)
    assert await activate(house, policy.name) == first
    other = pb.ActivatePolicyRequest(request_id="activate-1", name=f"policies/{1:032x}")
    error = await refusal(house.stub.ActivatePolicy(other, metadata=AS_HOLDER))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert len([start for start in await house.outbox("start") if start["workflow"] == "ActivatePolicy"]) == 1


async def test_of_concurrent_activations_one_is_recorded(house: House) -> None:
    """Twenty requests at once: one is recorded, the others find the policy SETTLING."""
    policy = await active_policy(house)
    answers = await asyncio.gather(
        *(activate(house, policy.name, f"activate-{number}") for number in range(20)), return_exceptions=True
    )
    assert len([answer for answer in answers if isinstance(answer, policy_pb2.Policy)]) == 1
    assert await house.value("SELECT count(*) FROM policy.activation") == 1


async def test_a_receipt_is_recorded_once(house: House) -> None:
    """The same receipt again gives the same answer, and no second line of history."""
    policy = await activate(house, (await active_policy(house)).name)
    first = await record_receipt(house, policy, 80_000 * USD)
    assert await record_receipt(house, policy, 80_000 * USD) == first
    assert first.in_the_money


async def test_the_recorded_request_names_what_decides_it(house: House) -> None:
    """Height, market time and rounds seen are stored and given to the workflow."""
    policy = await activate(house, (await active_policy(house)).name)
    given = (await house.outbox("start"))[-1]["input"]
    assert (given["activation_number"], given["request_burn_height"]) == (1, policy.activation_burn_height)
    assert abs(given["request_market_time"] - wall_now().timestamp()) < 5
    assert await house.value("SELECT btc_round * 100 + stx_round FROM policy.activation") == 707


async def test_activation_needs_neither_oracle_nor_workers(house: House) -> None:
    """With the oracle down the request is recorded all the same; the rounds seen are zero."""
    policy = await active_policy(house)
    house.oracle.is_down = True
    assert (await activate(house, policy.name)).state == SETTLING
    assert await house.value("SELECT btc_round FROM policy.activation") == 0


async def test_a_request_at_a_stale_tip_is_judged_when_the_tip_catches_up(house: House) -> None:
    """Stored unjudged, never swept, and honoured by the height at the time of the request."""
    policy = await active_policy(house)
    await house.set_tip(policy.expiration_burn_height, refresh_time=wall_now() - dt.timedelta(minutes=31))
    stored = await activate(house, policy.name)
    assert (stored.state, stored.activation_number, stored.activation_burn_height) == (ACTIVE, 1, 0)
    assert (await refusal(activate(house, policy.name, "activate-2"))).reason == "ACTIVATION_PENDING"
    await house.gateway.deliver(FINAL, height=policy.expiration_burn_height + 100)
    house.gateway.burn_block_heights = {
        int(wall_now().timestamp()) - 600: policy.expiration_burn_height,
        int(wall_now().timestamp()) + 60: policy.expiration_burn_height + 100,
    }
    assert await house.sweeper.claim_batch() is None
    await house.set_tip(policy.expiration_burn_height + 100)
    judged = await house.until(policy.name, SETTLING)
    assert judged.activation_burn_height == policy.expiration_burn_height
    assert judged.history[-1].cause == "REQUEST_JUDGED"
    assert (await house.outbox("start"))[-1]["input"]["request_burn_height"] == policy.expiration_burn_height


async def test_a_late_request_at_a_stale_tip_is_refused_when_judged(house: House) -> None:
    """Judged by the chain: after the expiration it is refused, and the policy is free for the sweeper."""
    policy = await active_policy(house)
    await house.set_tip(policy.expiration_burn_height, refresh_time=wall_now() - dt.timedelta(minutes=31))
    await activate(house, policy.name)
    await house.gateway.deliver(FINAL, height=policy.expiration_burn_height + 100)
    house.gateway.burn_block_heights = {int(wall_now().timestamp()) - 600: policy.expiration_burn_height + 1}
    await house.set_tip(policy.expiration_burn_height + 100)
    await house.until(policy.name, policy_pb2.POLICY_STATE_EXPIRING)
    assert await house.value("SELECT state FROM policy.activation") == "REFUSED"


async def test_a_refused_settlement_in_the_money_waits_for_an_operator(house: House) -> None:
    """FAILED_SETTLEMENT, settled again on the same receipt by an operator's retry, once per request."""
    policy = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, policy, 80_000 * USD)
    failed = await refuse(house, policy, 3021)
    assert (failed.state, failed.reason) == (FAILED, "u3021 refused")
    assert (await refusal(activate(house, policy.name, "activate-2"))).reason == "NOT_ACTIVE"
    request = pb.RetrySettlementRequest(request_id="retry-1", name=policy.name)
    for _ in range(2):
        answer = await house.stub.RetrySettlement(request, metadata=AS_OPERATOR)
        assert answer.policy.state == SETTLING
    starts = [start for start in await house.outbox("start") if start["workflow"] == "SettlePolicy"]
    assert [start["workflow_id"] for start in starts] == [f"settle/{policy.name[9:]}/1/retry-1"]
    await house.gateway.deliver(FINAL, events.settled(policy, 5))
    await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    assert (await house.outbox("signal"))[-1]["workflow_id"] == starts[0]["workflow_id"]


async def test_what_may_pass_later_is_tried_again(house: House) -> None:
    """A pause, a missing round, or an end that is on its way leave the policy SETTLING."""
    policy = await activate(house, (await active_policy(house)).name)
    await record_receipt(house, policy, 80_000 * USD)
    for error in (3001, 3014, 3019, 2011, 2012):
        assert (await refuse(house, policy, error)).state == SETTLING


async def test_a_refusal_without_a_paying_receipt_gives_the_policy_back(house: House) -> None:
    """Before expiration it is ACTIVE again; after it there is nothing to go back to."""
    policy = await activate(house, (await active_policy(house)).name)
    back = await refuse(house, policy, 3021)
    assert (back.state, back.history[-1].cause) == (ACTIVE, "REFUSED_BEFORE_EXPIRATION: u3021 refused")
    again = await activate(house, policy.name, "activate-2")
    await house.set_tip(policy.expiration_burn_height + 1)
    assert (await refuse(house, again, 3021)).state == FAILED
    request = pb.RetrySettlementRequest(request_id="retry-1", name=policy.name)
    assert (await refusal(house.stub.RetrySettlement(request, metadata=AS_OPERATOR))).reason == "NO_RECEIPT"


async def test_a_preview_is_what_the_settlement_would_pay(house: House) -> None:
    """PreviewSettlement computes the contract's payout at the latest prices and says why."""
    policy = await active_policy(house)
    request = pb.PreviewSettlementRequest(name=policy.name)
    out = await house.stub.PreviewSettlement(request, metadata=AS_HOLDER)
    assert (out.in_the_money, out.payout.base_units) == (False, 0)
    assert out.explanation == "Pays nothing: BTC at $100,000.00 is not below the strike of $90,000.00."
    house.oracle.set_btc(80_000 * USD)
    inside = await house.stub.PreviewSettlement(request, metadata=AS_HOLDER)
    assert (inside.in_the_money, inside.payout.base_units) == (True, 10_000_000 * 10_000 // 200)
    assert inside.explanation.startswith("Pays 500.000000 STX: BTC at $80,000.00 is below")
    house.oracle.set_btc(10_000 * USD)
    deep = await house.stub.PreviewSettlement(request, metadata=AS_HOLDER)
    assert "the floor of $75,000.00 is reached" in deep.explanation
    assert inside.cap_binds_below_stx_price_usd_e8 == 2 * USD * 8 // 10


async def test_a_receipt_in_the_money_of_a_request_on_chain_decides_every_activation(house: House) -> None:
    """The oracle signs no other one: the policy is settled on that, whatever its own request would have brought."""
    policy = await activate(house, (await active_policy(house)).name)
    receipt = events.receipt(policy, 80_000 * USD, 1_000_000_001)
    receipt.burn_height = policy.activation_burn_height - 1
    request = pb.RecordActivationReceiptRequest(name=policy.name, activation_number=1, receipt=receipt)
    answer = await house.stub.RecordActivationReceipt(request, metadata=AS_SERVICE)
    assert (answer.in_the_money, answer.policy.state) == (True, SETTLING)
    assert (await house.get(policy.name)).activation_receipt == receipt

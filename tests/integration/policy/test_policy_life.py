"""A policy's life over gRPC: quoted, created, activated, settled, expired."""

from __future__ import annotations

from typing import Any

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from services.policy.store_projection import Stream
from tests.integration.policy import events
from tests.integration.policy.harness import (
    AS_HOLDER,
    AS_SERVICE,
    VAULT,
    House,
    policy_terms,
)
from tests.integration.policy.stand_ins import AVAILABLE, USD
from workflows.contract import Start

FINAL = gateway_pb2.EVENT_FINALITY_FINAL
TIP = gateway_pb2.EVENT_FINALITY_TIP


async def active_policy(house: House, **terms: Any) -> policy_pb2.Policy:
    """A policy that is ACTIVE at burn height 1001."""
    policy = await house.create(**terms)
    await house.sign(policy.name)
    await house.set_tip(1002)
    await house.gateway.deliver(FINAL, events.created(policy), height=1001)
    return await house.until(policy.name, policy_pb2.POLICY_STATE_ACTIVE)


async def activate(house: House, name: str, request_id: str = "activate-1") -> policy_pb2.Policy:
    """The holder's request."""
    request = pb.ActivatePolicyRequest(request_id=request_id, name=name)
    return (await house.stub.ActivatePolicy(request, metadata=AS_HOLDER)).policy


async def record_receipt(house: House, policy: policy_pb2.Policy, price: int) -> pb.RecordActivationReceiptResponse:
    """What the activate workflow does with the oracle's receipt."""
    request = pb.RecordActivationReceiptRequest(
        name=policy.name,
        activation_number=policy.activation_number,
        receipt=events.receipt(policy, price, policy.activation_number),
    )
    return await house.stub.RecordActivationReceipt(request, metadata=AS_SERVICE)


async def test_a_quote_is_itemised_and_adds_up(house: House) -> None:
    """GetQuote names the tier and why, and its items add up to premium and fee."""
    answer = await house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms(duration_blocks=1008)))
    quote, parts = answer.quote, answer.quote.breakdown
    assert quote.tier_reason.startswith("CONSERVATIVE is the tightest tier")
    assert parts.model_price.base_units + parts.loading.base_units == quote.premium.base_units
    assert quote.fee.base_units == -(-quote.premium.base_units * 50 // 10_000)
    assert quote.available.base_units == AVAILABLE
    assert not quote.tier_closed
    assert quote.expiration_burn_height == 2008


async def test_a_quote_says_that_its_tier_is_closed(house: House) -> None:
    """At its bound a tier is still priced, and the quote says that no policy can be had."""
    house.pool.closed = True
    quote = (await house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms(duration_blocks=1008)))).quote
    assert quote.tier_closed
    assert (quote.available.base_units, quote.premium.base_units > 0) == (0, True)


async def test_creation_answers_with_the_transaction_to_sign(house: House) -> None:
    """CreatePolicy waits for the workflow's step and then answers what the wallet needs."""

    async def sign(start: Start) -> None:
        await house.sign(start.input.labels.policy)

    house.launcher.carry_out = sign
    policy = await house.create()
    assert policy.state == policy_pb2.POLICY_STATE_PENDING_CREATION
    assert policy.prepared_transaction.name == "preparedTransactions/1"
    assert policy.counterparty_principal == VAULT
    assert (policy.quote_burn_height, policy.quote_expiration_burn_height) == (1000, 1006)
    assert [start["workflow_id"] for start in await house.outbox("start")] == [f"create/{policy.name[9:]}"]


async def test_activation_in_the_money_is_settled_by_the_chain(house: House) -> None:
    """Request, receipt and event take a policy to SETTLED; the settle workflow is told."""
    policy = await active_policy(house)
    policy = await activate(house, policy.name)
    assert policy.state == policy_pb2.POLICY_STATE_SETTLING
    assert policy.activation_burn_height == 1002
    answer = await record_receipt(house, policy, 80_000 * USD)
    assert answer.in_the_money
    payout = 10_000_000 * 10_000 // (100 * 2)
    await house.gateway.deliver(FINAL, events.settled(policy, payout))
    policy = await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    assert policy.payout.base_units == payout
    assert [line.cause for line in policy.history] == [
        "QUOTE_ACCEPTED",
        "CREATED_ON_CHAIN",
        "HOLDER_ACTIVATED",
        "SETTLED_ON_CHAIN",
    ]
    signals = await house.outbox("signal")
    assert [(signal["signal"], signal["argument"]) for signal in signals] == [
        ("creation_ended", "ACTIVE"),
        ("settlement_ended", "SETTLED"),
    ]
    assert signals[1]["workflow_id"] == f"settle/{policy.name[9:]}/1"


async def test_activation_out_of_the_money_returns_to_active(house: House) -> None:
    """A receipt that pays nothing gives the policy back; it can be activated again under the next number."""
    policy = await activate(house, (await active_policy(house)).name)
    answer = await record_receipt(house, policy, 95_000 * USD)
    assert not answer.in_the_money
    assert answer.policy.state == policy_pb2.POLICY_STATE_ACTIVE
    assert answer.policy.history[-1].cause == "OUT_OF_THE_MONEY"
    again = await activate(house, policy.name, "activate-2")
    assert again.activation_number == 2


async def test_a_due_policy_is_swept_and_expired(house: House) -> None:
    """Once expiration and grace are final the sweeper claims the policy; the chain's event ends it."""
    policy = await active_policy(house)
    await house.gateway.deliver(FINAL, height=policy.expiration_burn_height + events.GRACE)
    await house.until_projected(Stream.FINAL, 2)
    assert await house.sweeper.claim_batch() is None
    await house.gateway.deliver(FINAL, height=policy.expiration_burn_height + events.GRACE + 1)
    await house.until(policy.name, policy_pb2.POLICY_STATE_EXPIRING)
    start = (await house.outbox("start"))[-1]
    assert start["workflow"] == "ExpirePolicies"
    batch = await house.stub.GetExpiryBatch(pb.GetExpiryBatchRequest(name=start["input"]["batch"]), metadata=AS_SERVICE)
    assert list(batch.batch.onchain_ids) == [1]
    assert batch.batch.open_count == 1
    assert batch.batch.max_payouts[0] == policy.max_payout
    await house.gateway.deliver(FINAL, events.expired(policy))
    policy = await house.until(policy.name, policy_pb2.POLICY_STATE_EXPIRED)
    assert policy.onchain_state == policy_pb2.ONCHAIN_STATE_EXPIRED

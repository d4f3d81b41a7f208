"""What the service refuses, with its stable reason, and that nothing is left behind."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.errors import BitHedgeError, InvalidArgument
from kernel.rpc.status import error_from_call
from services.policy.convert_lists import page_token
from tests.integration.policy import events
from tests.integration.policy.harness import (
    AS_HOLDER,
    AS_OPERATOR,
    AS_OTHER,
    AS_SERVICE,
    SIGNATURE,
    House,
    create_request,
    policy_terms,
)
from tests.integration.policy.stand_ins import SPOT, USD
from tests.integration.policy.test_policy_life import activate, active_policy, record_receipt

FINAL = gateway_pb2.EVENT_FINALITY_FINAL


async def refusal(call: Awaitable[Any]) -> BitHedgeError:
    """The domain error that a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_call(caught.value)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"protected_amount_sats": 0}, "terms.protected_amount_sats"),
        ({"protected_amount_sats": -1}, "terms.protected_amount_sats"),
        ({"strike_price_usd_e8": 0}, "terms.strike_price_usd_e8"),
        ({"strike_price_usd_e8": SPOT * 2}, "terms.strike_price_usd_e8"),
        ({"strike_price_usd_e8": SPOT // 4, "floor_price_usd_e8": SPOT // 5}, "terms.strike_price_usd_e8"),
        ({"floor_price_usd_e8": 0}, "terms.floor_price_usd_e8"),
        ({"floor_price_usd_e8": SPOT}, "terms.floor_price_usd_e8"),
        ({"floor_price_usd_e8": 1_000 * USD}, "terms.floor_price_usd_e8"),
        ({"settlement_token": money_pb2.TOKEN_UNSPECIFIED}, "terms.settlement_token"),
        ({"settlement_token": 9}, "terms.settlement_token"),
        ({"duration_blocks": 0}, "terms.duration_blocks"),
        ({"duration_blocks": 17}, "terms.duration_blocks"),
        ({"duration_blocks": 10**9}, "terms.duration_blocks"),
        ({"protected_amount_sats": 2**62}, "terms.protected_amount_sats"),
    ],
)
async def test_bad_terms_name_their_field(shared_house: House, terms: dict[str, int], field: str) -> None:
    """Bad terms are INVALID_ARGUMENT with the field that is wrong, for a quote and for a creation."""
    for call in (
        shared_house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms(**terms))),
        shared_house.stub.CreatePolicy(create_request("bad", **terms), metadata=AS_HOLDER),
    ):
        error = await refusal(call)
        assert isinstance(error, InvalidArgument)
        assert field in [violation.field for violation in error.violations]
    assert await shared_house.value("SELECT count(*) FROM policy.policy") == 0
    assert await shared_house.value("SELECT count(*) FROM policy.request") == 0


async def test_a_premium_above_the_maximum_creates_nothing(house: House) -> None:
    """PREMIUM_ABOVE_MAX says premium and fee, and the maximum that they add up to is accepted."""
    error = await refusal(house.stub.CreatePolicy(create_request("one", max_premium=1), metadata=AS_HOLDER))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "PREMIUM_ABOVE_MAX")
    assert await house.value("SELECT count(*) FROM policy.policy") == 0
    total = int(error.metadata["premium"]) + int(error.metadata["fee"])
    error = await refusal(house.stub.CreatePolicy(create_request("one", max_premium=total - 1), metadata=AS_HOLDER))
    assert error.reason == "PREMIUM_ABOVE_MAX"
    policy = (await house.stub.CreatePolicy(create_request("one", max_premium=total), metadata=AS_HOLDER)).policy
    assert policy.premium.base_units + policy.fee.base_units == total


async def test_a_maximum_in_the_other_token_is_refused(shared_house: House) -> None:
    """The maximum must be in the settlement token."""
    request = create_request("one")
    request.max_premium.token = money_pb2.TOKEN_SBTC
    error = await refusal(shared_house.stub.CreatePolicy(request, metadata=AS_HOLDER))
    assert (error.code, error.metadata["field"]) == ("INVALID_ARGUMENT", "max_premium.token")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("status", oracle_pb2.PRICE_STATUS_DEGRADED),
        ("status", oracle_pb2.PRICE_STATUS_UNAVAILABLE),
        ("age_seconds", 601),
        ("volatility", 0.0),
        ("volatility", float("nan")),
    ],
)
async def test_no_quote_on_a_price_that_cannot_be_trusted(
    shared_house: House, monkeypatch: pytest.MonkeyPatch, attribute: str, value: float
) -> None:
    """A price that is not OK or not fresh, or no volatility, refuses quote and creation."""
    monkeypatch.setattr(shared_house.oracle, attribute, value)
    for call in (
        shared_house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms())),
        shared_house.stub.CreatePolicy(create_request("one"), metadata=AS_HOLDER),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "PRICE_NOT_OK")


async def test_a_pause_of_creation_refuses_creation_alone(house: House) -> None:
    """While the contracts' creation is paused there are quotes but no creations."""
    house.gateway.paused = ["creation"]
    await house.set_tip(1001)
    await house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms()))
    error = await refusal(house.stub.CreatePolicy(create_request("one"), metadata=AS_HOLDER))
    assert error.reason == "CREATION_PAUSED"


async def test_a_limit_of_one_policy_names_what_passes(house: House) -> None:
    """Collateral above the contract's limit is refused with an amount that then passes."""
    house.gateway.parameters["issuance.max-per-policy-stx"] = 100_000_000
    await house.set_tip(1001)
    error = await refusal(house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms())))
    assert error.reason == "ABOVE_POLICY_LIMIT"
    passing = int(error.metadata["passing_protected_amount_sats"])
    await house.stub.GetQuote(pb.GetQuoteRequest(terms=policy_terms(protected_amount_sats=passing)))


async def test_a_second_activation_is_refused(house: House) -> None:
    """While one activation is open another is NOT_ACTIVE, also after the settlement."""
    policy = await activate(house, (await active_policy(house)).name)
    error = await refusal(activate(house, policy.name, "activate-2"))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NOT_ACTIVE")
    await house.gateway.deliver(FINAL, events.settled(policy, 1))
    await house.until(policy.name, policy_pb2.POLICY_STATE_SETTLED)
    assert (await refusal(activate(house, policy.name, "activate-3"))).reason == "NOT_ACTIVE"
    assert await house.value("SELECT count(*) FROM policy.activation") == 1


async def test_activation_counts_burn_heights_to_the_last(house: House) -> None:
    """At the expiration height a request is in time; one height later it is EXPIRED."""
    late, last = await active_policy(house), await house.create("create-2")
    await house.gateway.deliver(FINAL, events.created(last, 2), height=1002)
    last = await house.until(last.name, policy_pb2.POLICY_STATE_ACTIVE)
    await house.set_tip(late.expiration_burn_height + 1)
    error = await refusal(activate(house, late.name))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "EXPIRED")
    await house.set_tip(last.expiration_burn_height)
    assert (await activate(house, last.name, "activate-2")).state == policy_pb2.POLICY_STATE_SETTLING


async def test_a_holder_reaches_only_their_own(house: House) -> None:
    """To another holder a policy does not exist, whatever they call; operators see it without the transaction."""
    policy = await active_policy(house)
    name = policy.name
    for call in (
        house.stub.GetPolicy(pb.GetPolicyRequest(name=name), metadata=AS_OTHER),
        house.stub.GetPolicyByOnchainId(pb.GetPolicyByOnchainIdRequest(onchain_id=1), metadata=AS_OTHER),
        house.stub.ActivatePolicy(pb.ActivatePolicyRequest(request_id="a", name=name), metadata=AS_OTHER),
        house.stub.PreviewSettlement(pb.PreviewSettlementRequest(name=name), metadata=AS_OTHER),
        house.stub.ExplainPremium(pb.ExplainPremiumRequest(name=name), metadata=AS_OTHER),
        house.stub.WatchPolicy(pb.WatchPolicyRequest(name=name), metadata=AS_OTHER).read(),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == ("NOT_FOUND", "POLICY_NOT_FOUND")
    listed = await house.stub.ListPolicies(pb.ListPoliciesRequest(), metadata=AS_OTHER)
    assert not listed.policies
    naming = pb.ListPoliciesRequest(holder_principal=policy.holder_principal)
    assert (await refusal(house.stub.ListPolicies(naming, metadata=AS_OTHER))).code == "PERMISSION_DENIED"
    pending = await house.create("create-2")
    await house.sign(pending.name)
    seen = await house.stub.GetPolicy(pb.GetPolicyRequest(name=pending.name), metadata=AS_OPERATOR)
    assert not seen.policy.HasField("prepared_transaction")
    assert (await house.get(pending.name)).HasField("prepared_transaction")


async def test_steps_of_workflows_are_for_services(house: House) -> None:
    """A holder cannot play the workflow; a call without a token cannot create."""
    policy = await house.create()
    request = pb.RecordSignedQuoteRequest(name=policy.name, signature=SIGNATURE)
    assert (await refusal(house.stub.RecordSignedQuote(request, metadata=AS_HOLDER))).code == "PERMISSION_DENIED"
    assert (await refusal(house.stub.CreatePolicy(create_request("x")))).code == "UNAUTHENTICATED"


async def test_a_signed_quote_cannot_be_failed(house: House) -> None:
    """FailCreation ends only what nothing was signed for, and ends it once."""
    signed, unsigned = await house.create(), await house.create("create-2")
    await house.sign(signed.name)
    request = pb.FailCreationRequest(name=signed.name, reason="NO_CAPACITY")
    assert (await refusal(house.stub.FailCreation(request, metadata=AS_SERVICE))).reason == "QUOTE_SIGNED"
    request.name = unsigned.name
    for _ in range(2):
        failed = (await house.stub.FailCreation(request, metadata=AS_SERVICE)).policy
        assert (failed.state, failed.reason) == (policy_pb2.POLICY_STATE_FAILED_CREATION, "NO_CAPACITY")
    assert (await refusal(house.sign(unsigned.name))).reason == "NOT_PENDING"


async def test_a_receipt_must_be_of_the_activation(house: House) -> None:
    """A receipt of another height or policy, after expiration, or without a price, is refused; another later too."""
    policy = await activate(house, (await active_policy(house)).name)
    good = events.receipt(policy, 80_000 * USD)
    for field, value in (("burn_height", 1), ("btc_price_usd_e8", 0), ("stx_price_usd_e8", -1), ("signature", b"x")):
        bad = events.receipt(policy, 80_000 * USD)
        setattr(bad, field, value)
        request = pb.RecordActivationReceiptRequest(name=policy.name, activation_number=1, receipt=bad)
        error = await refusal(house.stub.RecordActivationReceipt(request, metadata=AS_SERVICE))
        assert error.reason == "RECEIPT_MISMATCH", field
    for number, height in ((2, policy.expiration_burn_height + 1), (2, 0)):
        late = events.receipt(policy, 80_000 * USD, number)
        late.burn_height = height
        request = pb.RecordActivationReceiptRequest(name=policy.name, activation_number=1, receipt=late)
        error = await refusal(house.stub.RecordActivationReceipt(request, metadata=AS_SERVICE))
        assert error.reason == "RECEIPT_MISMATCH"
    request = pb.RecordActivationReceiptRequest(name=policy.name, activation_number=2, receipt=good)
    error = await refusal(house.stub.RecordActivationReceipt(request, metadata=AS_SERVICE))
    assert error.reason == "ACTIVATION_UNKNOWN"
    await record_receipt(house, policy, 80_000 * USD)
    error = await refusal(record_receipt(house, policy, 70_000 * USD))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "RECEIPT_DIFFERS")


async def test_tokens_of_pages_and_streams_must_be_ours(house: House) -> None:
    """Made-up page and resume tokens and names are INVALID_ARGUMENT."""
    policy = await house.create()
    policy_id = policy.name.rpartition("/")[2]
    beyond = page_token(pb.ListExpiringPoliciesRequest(), 1 << 63, policy_id)
    of_a_list, other_list = pb.ListPoliciesRequest(), pb.ListPoliciesRequest(tier=money_pb2.TIER_BALANCED)
    calls = (
        house.stub.ListPolicies(pb.ListPoliciesRequest(page_token=page_token(of_a_list, "\0")), metadata=AS_HOLDER),
        house.stub.ListPolicies(
            pb.ListPoliciesRequest(page_token=page_token(other_list, policy_id)), metadata=AS_HOLDER
        ),
        house.stub.ListPolicies(pb.ListPoliciesRequest(page_token="W1tb" * 50_000), metadata=AS_HOLDER),
        house.stub.ListExpiringPolicies(pb.ListExpiringPoliciesRequest(page_token=beyond), metadata=AS_OPERATOR),
        house.stub.ListPolicies(pb.ListPoliciesRequest(page_token="!"), metadata=AS_HOLDER),
        house.stub.ListPolicies(pb.ListPoliciesRequest(page_token="WzFd"), metadata=AS_HOLDER),
        house.stub.ListPolicies(pb.ListPoliciesRequest(page_size=-1), metadata=AS_HOLDER),
        house.stub.ListPolicies(pb.ListPoliciesRequest.FromString(bytes([5 << 3, 7])), metadata=AS_HOLDER),
        house.stub.WatchPolicy(pb.WatchPolicyRequest(name=policy.name, resume_token="-1"), metadata=AS_HOLDER).read(),
        house.stub.GetPolicy(pb.GetPolicyRequest(name="policies/1"), metadata=AS_HOLDER),
    )
    for call in calls:
        assert (await refusal(call)).code == "INVALID_ARGUMENT"

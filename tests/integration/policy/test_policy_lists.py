"""Lists over a thousand policies: what a filter in Python would answer, page by page, also while others are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg
import pytest
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import money_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from tests.integration.policy.harness import AS_HOLDER, AS_OPERATOR, HOLDER, House, create_request, running
from tests.integration.policy.plans import noting
from tests.integration.policy.test_policy_refusals import refusal
from tests.load import policies as load

COUNT = 1_000
ACTIVE, SETTLED = policy_pb2.POLICY_STATE_ACTIVE, policy_pb2.POLICY_STATE_SETTLED
STX, BALANCED = money_pb2.TOKEN_STX, money_pb2.TIER_BALANCED
NEWEST, OLDEST = pb.POLICY_ORDER_NEWEST_FIRST, pb.POLICY_ORDER_OLDEST_FIRST
BY_EXPIRATION = pb.POLICY_ORDER_EXPIRATION
SOON, LATER = load.TIP - 2_000, load.TIP + 5_000


@pytest.fixture(scope="module")
async def full_house(module_database_url: str) -> AsyncIterator[House]:
    """A service with a thousand policies of fifty holders."""
    async with running(module_database_url) as house:
        connection = await asyncpg.connect(module_database_url)
        await load.fill(connection, COUNT)
        await connection.close()
        yield house


async def pages(house: House, request: pb.ListPoliciesRequest) -> list[policy_pb2.Policy]:
    """All of a list, in pages of seven."""
    found: list[policy_pb2.Policy] = []
    request.page_size, request.page_token = 7, ""
    while True:
        answer = await house.stub.ListPolicies(request, metadata=AS_OPERATOR)
        found += answer.policies
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


async def everything(house: House) -> list[policy_pb2.Policy]:
    """Every policy, in large pages."""
    request, found = pb.ListPoliciesRequest(page_size=200), list[policy_pb2.Policy]()
    while True:
        answer = await house.stub.ListPolicies(request, metadata=AS_OPERATOR)
        found += answer.policies
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


def admits(request: pb.ListPoliciesRequest) -> Callable[[policy_pb2.Policy], bool]:
    """What a request asks for, in plain Python."""

    def is_asked(policy: policy_pb2.Policy) -> bool:
        height = policy.expiration_burn_height
        return (
            request.holder_principal in ("", policy.holder_principal)
            and (not request.states or policy.state in request.states)
            and request.tier in (0, policy.tier)
            and request.settlement_token in (0, policy.settlement_token)
            and request.from_expiration_burn_height <= height
            and (not request.to_expiration_burn_height or height <= request.to_expiration_burn_height)
        )

    return is_asked


def in_order(policies: Sequence[policy_pb2.Policy], order: int) -> list[str]:
    """The names in the order asked for."""
    if order == BY_EXPIRATION:
        return [one.name for one in sorted(policies, key=lambda one: (one.expiration_burn_height, one.name))]
    return sorted((one.name for one in policies), reverse=order != OLDEST)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"order": OLDEST},
        {"order": BY_EXPIRATION},
        {"states": [ACTIVE], "order": BY_EXPIRATION, "from_expiration_burn_height": load.TIP + 300},
        {"states": [ACTIVE, SETTLED], "to_expiration_burn_height": LATER, "order": BY_EXPIRATION},
        {"tier": BALANCED, "settlement_token": STX, "from_expiration_burn_height": SOON, "order": BY_EXPIRATION},
        {"settlement_token": STX},
        {"states": [SETTLED], "tier": BALANCED},
        {"tier": BALANCED, "settlement_token": STX, "order": OLDEST},
        {"from_expiration_burn_height": SOON, "to_expiration_burn_height": LATER, "order": BY_EXPIRATION},
    ],
)
async def test_a_holders_list_is_what_was_asked_for(full_house: House, asked: dict[str, Any]) -> None:
    """Each filter and order, for a holder: every policy that it admits, once, in order, over several pages."""
    policies = await everything(full_house)
    request = pb.ListPoliciesRequest(holder_principal=policies[0].holder_principal, **asked)
    wanted = [policy for policy in policies if admits(request)(policy)]
    assert [policy.name for policy in await pages(full_house, request)] == in_order(wanted, request.order)


@pytest.mark.parametrize(
    "asked",
    [
        {"states": [SETTLED], "order": OLDEST},
        {"states": [SETTLED, ACTIVE], "tier": BALANCED},
        {"tier": BALANCED},
        {
            "states": [ACTIVE, SETTLED],
            "from_expiration_burn_height": SOON,
            "to_expiration_burn_height": LATER,
            "order": BY_EXPIRATION,
        },
    ],
)
async def test_a_list_over_all_holders_is_what_was_asked_for(full_house: House, asked: dict[str, Any]) -> None:
    """The same for operators, where an index has the answer."""
    request = pb.ListPoliciesRequest(**asked)
    wanted = [policy for policy in await everything(full_house) if admits(request)(policy)]
    assert [policy.name for policy in await pages(full_house, request)] == in_order(wanted, request.order)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"settlement_token": STX}, "settlement_token"),
        ({"tier": BALANCED, "order": BY_EXPIRATION}, "tier"),
        ({"to_expiration_burn_height": LATER}, "from_expiration_burn_height"),
        ({"to_expiration_burn_height": LATER, "holder_principal": HOLDER}, "from_expiration_burn_height"),
    ],
)
async def test_what_no_index_answers_is_refused(full_house: House, asked: dict[str, Any], field: str) -> None:
    """A list that would read every policy, or every one of a holder's, is UNSUPPORTED_LIST, and says which field is
    too much."""
    call = full_house.stub.ListPolicies(pb.ListPoliciesRequest(**asked), metadata=AS_OPERATOR)
    error = await refusal(call)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "UNSUPPORTED_LIST")
    assert field in str(error)


async def test_pages_are_stable_while_policies_are_made(house: House) -> None:
    """A policy made between two pages moves no other one: none is missing, none comes twice."""
    names = [(await house.create(f"before-{number}")).name for number in range(5)]
    request = pb.ListPoliciesRequest(page_size=2)
    first = await house.stub.ListPolicies(request, metadata=AS_HOLDER)
    await house.stub.CreatePolicy(create_request("between"), metadata=AS_HOLDER)
    request.page_token, request.page_size = first.next_page_token, 10
    rest = await house.stub.ListPolicies(request, metadata=AS_HOLDER)
    assert [policy.name for policy in (*first.policies, *rest.policies)] == names[::-1]
    assert not rest.next_page_token


async def test_a_read_mask_reads_no_more_than_it_names(full_house: House) -> None:
    """Masked policies have the named fields alone, and a page without history and receipt is one statement."""
    request = pb.ListPoliciesRequest(states=[SETTLED], page_size=3)
    whole = (await full_house.stub.ListPolicies(request, metadata=AS_OPERATOR)).policies
    request.read_mask.CopyFrom(FieldMask(paths=["name", "state", "payout.base_units"]))
    with noting(full_house.database) as statements:
        masked = (await full_house.stub.ListPolicies(request, metadata=AS_OPERATOR)).policies
    assert [
        policy_pb2.Policy(
            name=one.name, state=one.state, payout=money_pb2.TokenAmount(base_units=one.payout.base_units)
        )
        for one in whole
    ] == list(masked)
    # The service's background work is noted too, but reads neither a list nor the history.
    issued = [text for text, _ in statements.issued]
    assert len([text for text in issued if "unnest" in text]) == 1
    assert not [text for text in issued if "policy_history" in text or "activation.number) IN" in text]
    request.read_mask.CopyFrom(FieldMask(paths=["no_such_field"]))
    error = await refusal(full_house.stub.ListPolicies(request, metadata=AS_OPERATOR))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_READ_MASK")


async def test_a_holder_never_lists_anothers(full_house: House) -> None:
    """Among a thousand policies of others a holder finds none of theirs."""
    assert not (await full_house.stub.ListPolicies(pb.ListPoliciesRequest(), metadata=AS_HOLDER)).policies
    request = pb.ListPoliciesRequest(holder_principal=(await everything(full_house))[0].holder_principal)
    assert request.holder_principal != HOLDER
    assert (await refusal(full_house.stub.ListPolicies(request, metadata=AS_HOLDER))).reason == "NOT_YOURS"

"""Rows that were edited by hand, and names that are no list of policies: the ones corrected, the others refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.ids import new_id
from tests.integration.policy import events
from tests.integration.policy.harness import AS_SERVICE, House
from tests.integration.policy.healing_words import (
    FINAL,
    HEALED,
    NOTHING_MISSED,
    by_hand,
    figures,
    heal,
    outcomes,
    overlooked,
    said,
)
from tests.integration.policy.test_policy_life import active_policy
from tests.integration.policy.test_policy_refusals import refusal

SETTLED = policy_pb2.POLICY_STATE_SETTLED


_WRONG = (
    ("max_payout", "max_payout_base_units = max_payout_base_units + 1", ["max_payout_base_units"]),
    ("terms", "strike_price_usd_e8 = strike_price_usd_e8 + 1, token = 2", ["strike_price_usd_e8", "token"]),
    ("onchain_id", "onchain_id = NULL", ["onchain_id"]),
    ("expired", "state = 'EXPIRED'", ["state"]),
    ("settled", "state = 'SETTLED', payout_base_units = 7", ["payout_base_units", "state"]),
    ("failed", "state = 'FAILED_CREATION'", ["state"]),
    ("pending", "state = 'PENDING_CREATION'", ["state"]),
)


@pytest.mark.parametrize(("name", "edit", "fields"), _WRONG, ids=[name for name, _, _ in _WRONG])
async def test_what_events_refute_is_corrected(house: House, name: str, edit: str, fields: Sequence[str]) -> None:
    """An open policy whose row was edited says what its creation says, with a line of history; figures stay."""
    policy, counted = await active_policy(house), await figures(house)
    await by_hand(house, f"UPDATE policy.policy SET {edit}")
    [healed] = await heal(house, policy.name)
    assert (healed.outcome, sorted(healed.changed_fields)) == (HEALED, fields)
    after = await house.get(policy.name)
    assert said(after) == said(policy)
    assert (after.history[-1].cause, after.version) == ("PROVEN_BY_CHAIN", policy.version + 1)
    assert await figures(house) == counted
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]


_WRONG_ENDS = (
    "payout_base_units = 6",
    "state = 'ACTIVE', payout_base_units = 0",
    "state = 'EXPIRED', payout_base_units = 0",
    "state = 'EXPIRING', payout_base_units = 0, expiry_batch_id = 'x'",
)


@pytest.mark.parametrize("edit", _WRONG_ENDS)
async def test_an_end_that_was_edited_away_is_there_again(house: House, edit: str) -> None:
    """A SETTLED policy whose row says another payout or state is SETTLED with its payout; figures stay."""
    policy = await active_policy(house)
    await house.gateway.deliver(FINAL, events.settled(policy, 5), height=1010)
    policy = await house.until(policy.name, SETTLED)
    counted = await figures(house)
    await by_hand(house, f"UPDATE policy.policy SET {edit}")
    assert await outcomes(house, policy.name) == [HEALED]
    after = await house.get(policy.name)
    assert (after.state, after.payout.base_units) == (SETTLED, 5)
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]
    assert await figures(house) == counted


async def test_an_end_that_was_written_by_hand_is_counted_once(house: House) -> None:
    """Its event was missed and its row says it all the same; the second time there is nothing to do."""
    policy = await active_policy(house)
    await overlooked(house, events.settled(policy, 5))
    await by_hand(house, "UPDATE policy.policy SET state = 'SETTLED', payout_base_units = 5")
    await outcomes(house, policy.name)
    counted, after = await figures(house), await house.get(policy.name)
    assert counted == {("count", "SETTLED"): 1, ("premium", "STX"): policy.premium.base_units, ("payout", "STX"): 5}
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]
    assert (await figures(house), await house.get(policy.name)) == (counted, after)


async def test_a_withdrawn_end_that_was_taken_back_by_hand_is_counted_once(house: House) -> None:
    """The row says what the chain says, history and figures do not: they do afterwards, and stay so."""
    policy, counted = await active_policy(house), await figures(house)
    await house.gateway.deliver(FINAL, events.settled(policy, 5), height=1010)
    await house.until(policy.name, SETTLED)
    await overlooked(house, events.settled(policy, 5, withdrawn=True))
    await by_hand(house, "UPDATE policy.policy SET state = 'ACTIVE', payout_base_units = 0")
    await outcomes(house, policy.name)
    after = await house.get(policy.name)
    assert (after.state, after.history[-1].cause) == (policy_pb2.POLICY_STATE_ACTIVE, "PROVEN_BY_CHAIN")
    assert await outcomes(house, policy.name) == [NOTHING_MISSED]
    assert (await figures(house), await house.get(policy.name)) == (counted, after)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [f"policies/{number:032x}" for number in range(1_001)],
        ["policies/x"],
        [f"policies/{1:032x}"] * 2,
    ],
    ids=["none", "too-many", "malformed", "twice"],
)
async def test_names_are_checked(shared_house: House, names: Sequence[str]) -> None:
    """None, more than 1,000, no name of a policy, and one twice: the field is named, by both methods that take them."""
    refused = await refusal(shared_house.stub.HealPolicies(pb.HealPoliciesRequest(policies=names), metadata=AS_SERVICE))
    assert (type(refused).__name__, refused.metadata["field"]) == ("InvalidArgument", "policies")
    if names:
        request = pb.ListPolicyTotalsRequest(policies=names)
        refused = await refusal(shared_house.stub.ListPolicyTotals(request, metadata=AS_SERVICE))
        assert refused.metadata["field"] == "policies"


async def test_totals_of_named_policies(house: House) -> None:
    """Those that are on chain, however they were named, with the height of the books; no page beside names."""
    policy = await active_policy(house)
    unpaid = await house.create("create-2")
    names = [unpaid.name, policy.name, f"policies/{new_id()}"]
    totals = await house.stub.ListPolicyTotals(pb.ListPolicyTotalsRequest(policies=names), metadata=AS_SERVICE)
    assert [total.policy for total in totals.policies] == [policy.name]
    assert (totals.next_after_onchain_id, totals.projected_burn_height) == (0, 1001)
    request = pb.ListPolicyTotalsRequest(policies=names, page_size=1)
    assert (await refusal(house.stub.ListPolicyTotals(request, metadata=AS_SERVICE))).metadata["field"] == "policies"

"""The lifecycle: what the transition table allows, for any path, and that its document is current."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import FailedPrecondition
from kernel.units import Tier, Token
from services.policy.domain.policy import Origin, Policy, birth, is_ended, move, note, reverse, touch
from services.policy.domain.states_document import PATH, render
from services.policy.domain.transitions import MEANING, REVERSALS, RULES, TERMINAL, Actor, Cause, PolicyState, Rule

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ORIGIN = Origin(NOW, "ab", 7)
S = PolicyState
POLICY = Policy(
    id="0" * 32,
    holder_principal="ST1",
    token=Token.SBTC,
    tier=Tier.BALANCED,
    protected_amount_sats=1,
    strike_price_usd_e8=2,
    floor_price_usd_e8=1,
    btc_price_usd_e8=2,
    stx_price_usd_e8=0,
    premium_base_units=1,
    fee_base_units=1,
    max_payout_base_units=1,
    auto_settle=True,
    quote_burn_height=1,
    quote_expiration_burn_height=2,
    expiration_burn_height=3,
    state=PolicyState.PENDING_CREATION,
    create_time=NOW,
    update_time=NOW,
)
# As the product states them, apart from the code's table.
ALLOWED = {
    S.PENDING_CREATION: {S.ACTIVE, S.FAILED_CREATION},
    S.ACTIVE: {S.SETTLING, S.EXPIRING, S.SETTLED, S.EXPIRED},
    S.SETTLING: {S.ACTIVE, S.SETTLED, S.FAILED_SETTLEMENT, S.EXPIRED},
    S.EXPIRING: {S.ACTIVE, S.EXPIRED, S.SETTLED},
    S.FAILED_SETTLEMENT: {S.SETTLING, S.SETTLED, S.EXPIRED},
}
# What only the chain decides; FAILED_CREATION also when nothing was signed.
OF_THE_CHAIN = {S.SETTLED, S.EXPIRED}
STEPS = st.lists(st.tuples(st.sampled_from(Actor), st.sampled_from(Cause)), max_size=30)


def test_the_table_is_the_products() -> None:
    """Exactly the product's transitions, no more and no less."""
    found: dict[PolicyState, set[PolicyState]] = {}
    for rule in RULES:
        if rule.source is not None:
            found.setdefault(rule.source, set()).add(rule.target)
    assert found == ALLOWED
    assert {rule.target for rule in RULES if rule.source is None} == {S.PENDING_CREATION, S.ACTIVE}


@given(STEPS)
def test_no_path_leaves_a_terminal_state(steps: list[tuple[Actor, Cause]]) -> None:
    """Whatever is tried in whatever order, an ended policy stays as it is; every version has one line."""
    policy, lines = POLICY, 0
    for actor, cause in steps:
        before = policy
        try:
            change = move(policy, actor, cause, ORIGIN)
        except FailedPrecondition:
            continue
        assert not is_ended(before)
        assert change.transition is not None
        assert change.transition.to_state in ALLOWED[before.state]
        policy, lines = change.after, lines + 1
    assert policy.version == POLICY.version + lines


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.target in OF_THE_CHAIN])
def test_only_the_projector_writes_what_the_chain_decides(rule: Rule) -> None:
    """SETTLED and EXPIRED are written by the projector alone."""
    assert rule.actor is Actor.PROJECTOR


def test_creation_is_written_by_the_projector_alone() -> None:
    """A pending creation becomes ACTIVE by the chain's event and by nothing else."""
    rules = [rule for rule in RULES if rule.source is S.PENDING_CREATION and rule.target is S.ACTIVE]
    assert [(rule.actor, rule.cause) for rule in rules] == [(Actor.PROJECTOR, Cause.CREATED_ON_CHAIN)]


@given(st.sampled_from(PolicyState), st.sampled_from(Actor), st.sampled_from(Cause))
def test_a_transition_needs_its_own_actor(state: PolicyState, actor: Actor, cause: Cause) -> None:
    """A transition is made exactly where a rule of that source, actor and cause exists."""
    expected = [rule for rule in RULES if (rule.source, rule.actor, rule.cause) == (state, actor, cause)]
    policy = dataclasses.replace(POLICY, state=state)
    if expected:
        assert move(policy, actor, cause, ORIGIN, detail="why").after.state is expected[0].target
    else:
        with pytest.raises(FailedPrecondition):
            move(policy, actor, cause, ORIGIN)


@given(st.sampled_from(PolicyState), st.sampled_from(PolicyState))
def test_reversals_are_a_table_of_their_own(source: PolicyState, target: PolicyState) -> None:
    """A reversal goes where the table says, keeps its cause, and never revives a failed creation."""
    policy = dataclasses.replace(POLICY, state=source)
    if (source, target) in REVERSALS:
        assert source is not S.FAILED_CREATION
        change = reverse(policy, target, ORIGIN)
        assert change.transition is not None
        assert change.transition.cause == Cause.REORGANISED
    else:
        with pytest.raises(FailedPrecondition):
            reverse(policy, target, ORIGIN)


def test_each_change_is_a_new_version() -> None:
    """A change without a transition, a noted fact and a birth keep version and history in step."""
    touched = touch(POLICY, ORIGIN, reason="because").after
    assert (touched.version, touched.reason, touched.state) == (2, "because", POLICY.state)
    noted = note(POLICY, Actor.PROJECTOR, Cause.CREATED_AFTER_FAILURE, ORIGIN)
    assert noted.transition is not None
    assert noted.transition.from_state is noted.transition.to_state
    assert birth(POLICY, Actor.CALL, Cause.QUOTE_ACCEPTED, ORIGIN).version == 1


def test_every_cause_has_a_meaning() -> None:
    """The document explains every cause."""
    assert set(MEANING) == set(Cause)
    assert {S.SETTLED, S.EXPIRED, S.FAILED_CREATION} == TERMINAL


def test_the_document_is_current() -> None:
    """docs/policy_states.md is what the table renders."""
    assert PATH.read_text() == render()

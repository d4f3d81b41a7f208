"""The states of a backend key: every step from every state, and what must hold on chain first."""

from __future__ import annotations

import itertools

import pytest

from kernel.errors import FailedPrecondition
from services.chain_gateway.domain.key_rotation import TRANSITIONS, KeyFacts, KeyState, Step, after

_KNOWN = KeyFacts(is_chain_principal=True, open_transactions=0)
_UNKNOWN = KeyFacts(is_chain_principal=False, open_transactions=0)


def _reason(step: Step, state: KeyState, facts: KeyFacts) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        after(step, state, facts)
    return caught.value.reason


@pytest.mark.parametrize(("step", "state"), list(itertools.product(Step, KeyState)))
def test_every_step_from_every_state(step: Step, state: KeyState) -> None:
    """What the table has goes where it says, twice as well as once; what it has not is refused by name."""
    facts = _UNKNOWN if step is Step.REMOVE else _KNOWN
    expected = TRANSITIONS.get((step, state))
    if expected is None:
        assert _reason(step, state, facts) == "KEY_STATE"
        return
    assert after(step, state, facts) == expected
    assert after(step, expected, facts) == expected


def test_the_contract_knows_a_key_before_it_is_used() -> None:
    """Neither activated nor preferred, from wherever, before the parameter contract has the key."""
    assert _reason(Step.ACTIVATE, KeyState.REMOVED, _UNKNOWN) == "KEY_NOT_PRINCIPAL"
    assert _reason(Step.ACTIVATE, KeyState.DRAINING, _UNKNOWN) == "KEY_NOT_PRINCIPAL"
    assert _reason(Step.PREFER, KeyState.ACTIVE, _UNKNOWN) == "KEY_NOT_PRINCIPAL"


def test_a_key_is_removed_last() -> None:
    """Not while a transaction of it is open, and not while the contract knows it; draining needs neither."""
    assert _reason(Step.REMOVE, KeyState.DRAINING, KeyFacts(False, 1)) == "KEY_IN_USE"
    assert _reason(Step.REMOVE, KeyState.DRAINING, _KNOWN) == "KEY_STILL_PRINCIPAL"
    assert after(Step.DRAIN, KeyState.ACTIVE, KeyFacts(False, 9)) == KeyState.DRAINING


def test_the_preferred_key_cannot_be_drained() -> None:
    """Quotes need a signer at every moment: another key is preferred first."""
    assert _reason(Step.DRAIN, KeyState.PREFERRED, _KNOWN) == "KEY_STATE"

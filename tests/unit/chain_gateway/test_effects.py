"""What the chain's state means for an intent that was not sent yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.domain.effect import EFFECT_BY_OTHERS, Fact, Finding, Seen, finding

_SEEN = st.builds(Seen, st.sampled_from(Fact), st.sampled_from(["A", "B"]), st.booleans())


@given(seen=st.lists(_SEEN, max_size=6))
def test_only_what_is_final_ends_an_intent(seen: list[Seen]) -> None:
    """Something left to do: sent. Else something not final: waits. Else: ended, and never as done what cannot be."""
    found = finding(seen)
    if not seen or any(one.fact is Fact.OPEN for one in seen):
        assert found is None
        return
    assert found is not None
    if not all(one.final for one in seen):
        assert found.end is None
    elif any(one.fact is Fact.IMPOSSIBLE for one in seen):
        assert found.end is IntentState.CANCELLED
    else:
        assert found.end is IntentState.CONFIRMED


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (Seen(Fact.DONE), Finding(IntentState.CONFIRMED, EFFECT_BY_OTHERS)),
        (Seen(Fact.DONE, "LATER", final=False), Finding(None, "LATER")),
        (Seen(Fact.IMPOSSIBLE, "POLICY_EXPIRED"), Finding(IntentState.CANCELLED, "POLICY_EXPIRED")),
    ],
)
def test_the_reason_is_that_of_the_fact(seen: Seen, found: Finding) -> None:
    """An intent says what it waits for, or why it ended."""
    assert finding([seen]) == found

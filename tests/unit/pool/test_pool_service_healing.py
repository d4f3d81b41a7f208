"""Which differences the policy service may heal, and why one is left; what was found, kept and read again."""

from __future__ import annotations

import json
from typing import Final

import pytest

from kernel.units import Token
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference
from services.pool.domain.service_healing import HealingOutcome, cause_after, is_of_service
from services.pool.domain.terms import LEDGER_DIFFERS, SERVICE_DIFFERS
from services.pool.found import Found, found_from, found_json

_O: Final = HealingOutcome
_C: Final = LikelyCause


def _difference(kind: str, cause: LikelyCause) -> Difference:
    return Difference(kind, "policies/a", "1", "2", "3", cause)


MISSED: Final = _difference("STATE_DIFFERS", _C.SERVICE_MISSED_EVENT)
AHEAD: Final = _difference("POLICY_NOT_ON_CHAIN", _C.SERVICE_AHEAD)
TERMS: Final = _difference(SERVICE_DIFFERS, _C.CHANGED_BY_HAND)
LEDGER: Final = _difference(LEDGER_DIFFERS, _C.CHANGED_BY_HAND)


@pytest.mark.parametrize(
    ("difference", "outcome", "cause"),
    [
        (MISSED, None, _C.SERVICE_MISSED_EVENT),
        (MISSED, _O.UNSPECIFIED, _C.SERVICE_MISSED_EVENT),
        (MISSED, _O.HEALED, _C.NOT_FROM_EVENTS),
        (MISSED, _O.RESTORED, _C.NOT_FROM_EVENTS),
        (MISSED, _O.NOTHING_MISSED, _C.NOT_FROM_EVENTS),
        (MISSED, _O.NOT_ON_CHAIN, _C.NOT_FROM_EVENTS),
        (MISSED, _O.CREATED_AFTER_FAILURE, _C.CREATED_AFTER_FAILURE),
        (MISSED, _O.REFUSED, _C.SERVICE_REFUSED),
        (AHEAD, _O.NOT_ON_CHAIN, _C.SERVICE_AHEAD),
        (AHEAD, _O.NOTHING_MISSED, _C.NOT_FROM_EVENTS),
        (TERMS, None, _C.CHANGED_BY_HAND),
        (TERMS, _O.NOTHING_MISSED, _C.NOT_FROM_EVENTS),
        (LEDGER, _O.REFUSED, _C.CHANGED_BY_HAND),
    ],
)
def test_what_is_left_has_the_cause_that_healing_showed(
    difference: Difference, outcome: HealingOutcome | None, cause: LikelyCause
) -> None:
    """By what the policy service answered; a difference of the ledger keeps its own."""
    assert cause_after(difference, outcome) is cause


def test_only_differences_of_the_policy_service_are_its_to_heal() -> None:
    """Missed and invented events and changed terms of its books, and nothing of the ledger's."""
    other = [_difference("STATE_DIFFERS", cause) for cause in (_C.EVENT_MISSED, _C.CREATION_WITHDRAWN)]
    assert [is_of_service(one) for one in (MISSED, AHEAD, TERMS, LEDGER, *other)] == [True] * 3 + [False] * 3


def test_what_was_found_is_kept_whole() -> None:
    """Through JSON and back it is the same, with faults and sums."""
    found = Found([MISSED, TERMS], 7, 900, [("GAP", "tiers/1")], {Token.STX: 10**18, Token.SBTC: 0})
    assert found_from(json.loads(json.dumps(found_json(found)))) == found

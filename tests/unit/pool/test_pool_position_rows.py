"""Deposits and withdrawals beside their lines: what differs is named, and what the chain does not prove stays."""

from __future__ import annotations

from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.position_rows import ChainWord, Held, LineOfRow, compare_rows, proven, with_chain

_RIGHT = Held("SP-ALICE", 2, 1, 100)
_NAME = "deposits/ab-0"
_WORD = {_NAME: ChainWord("SP-ALICE", 1, 100)}


def _lines(row: Held, first: Held = _RIGHT, issued: Held = _RIGHT) -> list[LineOfRow]:
    return [
        LineOfRow(_NAME, "deposit", row, first),
        LineOfRow(_NAME, "shares issued", row._replace(shares=7), issued._replace(shares=7)),
    ]


def test_rows_as_their_lines_have_no_difference() -> None:
    """A row that says what all its lines say is no difference."""
    assert compare_rows(_lines(_RIGHT)) == []


def test_each_term_that_differs_is_named_with_both_values() -> None:
    """Another provider has a kind of its own, whatever else differs; the chain's word stands beside it."""
    found = compare_rows(_lines(_RIGHT._replace(provider="SP-BOB", amount=101)))
    assert [(one.kind, one.subject, one.cause) for one in found] == [
        ("PROVIDER_DIFFERS", _NAME, LikelyCause.CHANGED_BY_HAND)
    ]
    assert found[0].ledger_says == (
        "provider SP-BOB for SP-ALICE of its line 'deposit', amount 101 for 100 of its line 'deposit', "
        "provider SP-BOB for SP-ALICE of its line 'shares issued', amount 101 for 100 of its line 'shares issued'"
    )
    assert with_chain(found, _WORD)[0].contracts_say == "provider SP-ALICE, amount 100"
    assert [one.kind for one in compare_rows(_lines(_RIGHT._replace(tier=3)))] == ["POSITION_DIFFERS"]


def test_only_what_all_lines_and_the_chain_say_is_proven() -> None:
    """Lines that disagree, an event that says other, and no event prove nothing."""
    changed = _RIGHT._replace(provider="SP-BOB")
    assert proven(_lines(changed), _WORD) == {_NAME: _RIGHT}
    assert proven(_lines(changed), {}) == {}
    assert proven(_lines(changed), {_NAME: ChainWord("SP-BOB", 1, 100)}) == {}
    disagreeing = _lines(changed, issued=changed)
    assert proven(disagreeing, _WORD) == {}
    assert [one.cause for one in compare_rows(disagreeing)] == [LikelyCause.ENTRIES_DISAGREE]


def test_requests_for_more_shares_than_there_are_are_told() -> None:
    """Each is a difference of its own."""
    found = compare_rows([], ["withdrawals/1", "withdrawals/2"])
    assert [(one.kind, one.subject) for one in found] == [
        ("REQUEST_WITHOUT_SHARES", "withdrawals/1"),
        ("REQUEST_WITHOUT_SHARES", "withdrawals/2"),
    ]

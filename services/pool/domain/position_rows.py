"""Compares each deposit and withdrawal with the lines of the entries that it stands for: whose it is, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, NamedTuple

from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference

PROVIDER_DIFFERS: Final = "PROVIDER_DIFFERS"
POSITION_DIFFERS: Final = "POSITION_DIFFERS"
REQUEST_WITHOUT_SHARES: Final = "REQUEST_WITHOUT_SHARES"
KINDS: Final = frozenset({PROVIDER_DIFFERS, POSITION_DIFFERS})


class Held(NamedTuple):
    """Whose, in which tier and token, and how many base units; `shares` as they changed, negative where burned."""

    provider: str
    tier: int
    token: int
    amount: int
    shares: int = 0


class LineOfRow(NamedTuple):
    """A row, by its resource name, and what one of the lines says that were written for it; they never change."""

    subject: str
    line: str
    row: Held
    entry: Held


class ChainWord(NamedTuple):
    """What the chain's event of a deposit or payment says; it knows no tier of a payment."""

    provider: str
    token: int
    amount: int


def compare_rows(lines: Iterable[LineOfRow], without_shares: Iterable[str] = ()) -> list[Difference]:
    """One difference for each row that differs from a line; `lines` has all of such a row's, in the order of subjects.

    `without_shares` are withdrawals that wait to burn more shares than their provider has.
    """
    found = [
        difference
        for subject, of_row in groupby(lines, lambda line: line.subject)
        if (difference := _difference(subject, tuple(of_row))) is not None
    ]
    cause = LikelyCause.NOT_ITS_SHARES
    return [*found, *(Difference(REQUEST_WITHOUT_SHARES, name, "", "", "", cause) for name in without_shares)]


def _difference(subject: str, lines: Sequence[LineOfRow]) -> Difference | None:
    terms = [
        (line.line, term, entry, row)
        for line in lines
        for term, entry, row in zip(Held._fields, line.entry, line.row, strict=True)
        if entry != row
    ]
    if not terms:
        return None
    kind = PROVIDER_DIFFERS if any(term == "provider" for _, term, *_ in terms) else POSITION_DIFFERS
    cause = LikelyCause.CHANGED_BY_HAND if _agreed(lines) else LikelyCause.ENTRIES_DISAGREE
    says = ", ".join(f"{term} {row} for {entry} of its line '{line}'" for line, term, entry, row in terms)
    return Difference(kind, subject, "", says, "", cause)


def _agreed(lines: Sequence[LineOfRow]) -> Held | None:
    """What all lines of a row say, but for shares; None where they do not say the same."""
    said = {line.entry._replace(shares=0) for line in lines}
    return said.pop() if len(said) == 1 else None


def proven(lines: Iterable[LineOfRow], told: Mapping[str, ChainWord]) -> dict[str, Held]:
    """By subject, what the row must say: what all its lines say, where the chain's event says it too."""
    right: dict[str, Held] = {}
    for subject, of_row in groupby(lines, lambda line: line.subject):
        held = _agreed(tuple(of_row))
        if held is not None and told.get(subject) == ChainWord(held.provider, held.token, held.amount):
            right[subject] = held
    return right


def with_chain(differences: Iterable[Difference], told: Mapping[str, ChainWord]) -> list[Difference]:
    """The differences of rows with what the chain's event says."""
    return [
        replace(one, contracts_say=f"provider {word.provider}, amount {word.amount}")
        if one.kind in KINDS and (word := told.get(one.subject)) is not None
        else one
        for one in differences
    ]

"""The README's tables against the sources: every error and every event is listed, numbers are unique and in range."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.contracts.chain import CONTRACTS, ORACLE, PARAMETER, REGISTRY, SOURCES, VAULT
from tests.contracts.document import GUARANTEES

README = (SOURCES.parent / "README.md").read_text()
THOUSANDS = {PARAMETER: 1, ORACLE: 2, REGISTRY: 3, VAULT: 4}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_errors_are_numbered_without_gaps_used_and_listed(contract: str) -> None:
    """Each error constant has its own number in the contract's range, is used, and stands in the README."""
    source = (SOURCES / f"{contract}.clar").read_text()
    errors = re.findall(r"\(define-constant (ERR_\w+) u(\d+)\)", source)
    first = THOUSANDS[contract] * 1000 + 1
    assert [int(number) for _, number in errors] == list(range(first, first + len(errors)))
    listed = {int(number) for number in re.findall(r"\| (\d{4}) ", README)}
    for name, number in errors:
        assert source.count(f"(err {name})") > 0, f"{name} is never answered"
        assert int(number) in listed, f"{name} is not in the README"


@pytest.mark.parametrize("contract", CONTRACTS)
def test_events_are_listed(contract: str) -> None:
    """Each topic that a contract prints stands in the README."""
    topics = re.findall(r'topic: "([\w-]+)"', (SOURCES / f"{contract}.clar").read_text())
    assert topics
    for topic in topics:
        assert f"`{topic}`" in README


@pytest.mark.parametrize("contract", CONTRACTS)
def test_no_line_is_too_long_and_no_contract_too_large(contract: str) -> None:
    """A contract stays readable: at most 300 lines of at most 120 characters."""
    lines = (SOURCES / f"{contract}.clar").read_text().splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 120


@cache
def guarantees() -> list[str]:
    """The points of the page, each as one line; what nobody can give at all needs no test."""
    text = GUARANTEES.read_text()
    return [" ".join(one.split()) for one in re.findall(r"^- (.+?)(?=^- |^#|^$)", text, re.MULTILINE | re.DOTALL)]


def test_each_guarantee_names_tests_that_there_are() -> None:
    """Every promise names a test, and every test that is named is defined where its link leads."""
    promised = [one for one in guarantees() if "**" in one or "test_" in one]
    assert len(promised) >= 15
    for one in promised:
        named = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", one)
        assert named or one.startswith("**If the admin"), f"no test: {one}"
        for name, path in named:
            assert f"def {name}(" in (GUARANTEES.parent / path).read_text(), f"{name} is not in {path}"

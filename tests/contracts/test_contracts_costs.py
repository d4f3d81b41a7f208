"""What calls cost, against a block's budget and against what the document says."""

from __future__ import annotations

import pytest

from tests.contracts.costs import BLOCK_LIMIT, Cost, measured
from tests.contracts.document import DOCUMENT, access_table, cost_table, part
from tests.contracts.vm import VM


@pytest.fixture(scope="module")
def costs(vm: VM) -> list[Cost]:
    """Everything measured once."""
    return list(measured(vm))


def test_the_documents_costs_are_those_of_the_vm(costs: list[Cost]) -> None:
    """docs/contracts.md says what the VM says now; `python -m tests.contracts.document` writes it."""
    assert part(DOCUMENT.read_text(), "costs") == cost_table(costs)


def test_the_documents_access_is_what_is_tested() -> None:
    """The table of docs/contracts.md is the one that the access tests go through."""
    assert part(DOCUMENT.read_text(), "access") == access_table()


def test_no_call_takes_more_than_a_third_of_a_block(costs: list[Cost]) -> None:
    """Also a full batch, whatever becomes of its policies, finds its place in a block in every dimension."""
    for one in costs:
        for name, limit in BLOCK_LIMIT.items():
            assert 3 * one.costs[name] <= limit, (one.what, name)


def test_a_call_for_one_person_takes_less_than_a_hundredth(costs: list[Cost]) -> None:
    """What holders and providers sign fits into nearly full blocks."""
    for one in costs:
        assert "200 ids" in one.what or one.largest[1] < 0.01, one.what

"""Random walks over all public functions keep every rule; and walks over contracts with a planted bug find it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.contracts.chain import CONTRACTS, PARAMETER, REGISTRY, SOURCES, VAULT
from tests.contracts.fuzz.report import Report
from tests.contracts.fuzz.step import drawn, from_text, to_text
from tests.contracts.fuzz.walk import Failure, shrunk, walk
from tests.contracts.fuzz.world import Stage
from tests.contracts.vm import VM

SEED = 20
CALLS = 1_500
PLANTED = {
    "release without unlocking": (
        VAULT,
        "(map-set pools token (merge pool { locked: (- (get locked pool) collateral) }))",
        "(map-set pools token pool)",
        "locked",
    ),
    "a voucher is paid twice": (
        VAULT,
        "(asserts! (not (is-voucher-used id)) (err ERR_VOUCHER_USED))",
        "",
        "a voucher was used twice",
    ),
    "an ended policy ends again": (
        REGISTRY,
        """(asserts! (is-eq (get status entry) ACTIVE) (err ERR_NOT_ACTIVE))
    (asserts! (or abandoned""",
        "(asserts! (or abandoned",
        "ended twice",
    ),
    "the admin is lent to contracts": (
        PARAMETER,
        "(define-private (assert-admin) (ok (asserts! (is-eq contract-caller",
        "(define-private (assert-admin) (ok (asserts! (is-eq tx-sender",
        "instead of (False, 1001)",
    ),
}


def test_walks_keep_every_rule(vm: VM) -> None:
    """Whoever calls what in whatever order, every success was justified, all books agree, and all is reached."""
    stage, report, number = Stage(vm), Report(), 0
    while report.calls < CALLS:
        failure = walk(stage, drawn(Random(f"{SEED}/{number}"), 160), report.add)
        assert failure is None, f"{failure.rule}\n{to_text(failure.steps)}"
        number += 1
    assert report.missing(1) == []


def sources_with(folder: Path, contract: str, old: str, new: str) -> Path:
    """The contracts with one passage exchanged."""
    for name in CONTRACTS:
        text = (SOURCES / f"{name}.clar").read_text()
        if name == contract:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / f"{name}.clar").write_text(text)
    return folder


def first_failure(stage: Stage) -> Failure:
    """The first walk that breaks a rule."""
    found = (walk(stage, drawn(Random(f"{SEED}/{number}"), 60)) for number in range(30))
    return next(one for one in found if one is not None)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_and_shrunk(vm: VM, tmp_path: Path, bug: str) -> None:
    """The walks find it, leave out all steps that it does not need, and the rest plays again from its text alone."""
    contract, old, new, rule = PLANTED[bug]
    stage = Stage(vm, sources_with(tmp_path, contract, old, new))
    failure = first_failure(stage)
    assert rule in failure.rule
    small = shrunk(stage, failure)
    assert len(small.steps) <= 8 and len(small.steps) <= len(failure.steps)
    steps = from_text(to_text(small.steps))
    again = walk(stage, steps)
    assert again is not None and again.rule == small.rule
    assert again.log == small.log
    assert walk(Stage(vm), steps) is None

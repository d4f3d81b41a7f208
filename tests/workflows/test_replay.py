"""Every recorded history replays on today's definitions: a release never breaks the workflows that are open."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.workflows.record import HISTORIES
from workflows.contract import WorkflowName
from workflows.worker import WORKFLOWS

RECORDED = sorted(HISTORIES.glob("*.json"))


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """The definitions take the recorded decisions again, in order."""
    await Replayer(workflows=WORKFLOWS).replay_workflow(_history(path))


def test_every_workflow_has_a_recorded_history() -> None:
    """One at least for each type that a worker serves."""
    recorded = {_type(path) for path in RECORDED}
    assert recorded == set(WorkflowName)


async def test_a_changed_definition_is_found_out() -> None:
    """The check bites: with one recorded step renamed the replay fails."""
    [path] = HISTORIES.glob("deposit_liquidity.priced.json")
    changed = path.read_text().replace("price_deposit", "price_otherwise")
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=WORKFLOWS).replay_workflow(WorkflowHistory.from_json(path.stem, changed))


def _type(path: Path) -> str:
    started = _history(path).events[0].workflow_execution_started_event_attributes
    return started.workflow_type.name

"""The suite itself: what it finds, writes and answers, on rows with known figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.__main__ import main
from tests.bench.memory import Memory
from tests.bench.row import ABOUT, at_least, at_most, of_samples, quantile, value_at_most
from tests.bench.suite import ROWS, names_of

_EXAMPLES = "tests.bench.example_rows"
_PROMISED = {"name", "value", "unit", "yardstick", "ratio", "goal", "met"}


def _run(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    output = folder / "below" / "bench.json"
    code = main(["--package", _EXAMPLES, "--output", str(output), *arguments])
    assert [path.name for path in output.parent.iterdir()] == ["bench.json"]
    return code, json.loads(output.read_text())


def test_the_file_has_the_rows_as_promised(tmp_path: Path) -> None:
    """Each row has the promised fields with the right types; a missed goal is told and fails nothing."""
    code, content = _run(tmp_path, "fast_enough", "too_slow")
    assert code == 0
    assert content["failures"] == []
    fast, slow = content["rows"]
    assert fast | {"notes": 0} == {
        "name": "fast_enough",
        "value": 200.0,
        "unit": "calls/s",
        "yardstick": 100.0,
        "ratio": 2.0,
        "goal": 0.5,
        "goal_kind": "ratio at least",
        "value_goal": None,
        "met": True,
        "samples": 3,
        "spread": [180.0, 210.0],
        "yardstick_spread": [90.0, 130.0],
        "notes": 0,
    }
    assert (slow["ratio"], slow["goal"], slow["met"]) == (3.5, 5.0, False)
    for row in content["rows"]:
        assert row.keys() >= _PROMISED
        assert row.keys() == ABOUT.keys() == content["about"].keys()


def test_a_row_that_breaks_fails_the_command_and_not_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others are measured and written, the command exits 1, and one line says why."""
    code, content = _run(tmp_path)
    assert code == 1
    assert [row["name"] for row in content["rows"]] == ["fast_enough", "too_slow"]
    assert [failure["name"] for failure in content["failures"]] == ["breaks"]
    printed = capfd.readouterr()
    assert "there is nothing to measure here" in printed.err
    assert "goal MISSED" in printed.out


def test_long_rows_are_of_the_full_suite(tmp_path: Path) -> None:
    """A long row runs only in full; without a goal its `goal` is null and it counts as met."""
    assert "takes_long" not in names_of(_EXAMPLES)
    code, content = _run(tmp_path, "--full", "takes_long")
    row = content["rows"][0]
    assert code == 0
    assert (row["goal"], row["goal_kind"], row["met"], row["ratio"], row["samples"]) == (None, None, True, None, 21)


def test_a_row_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen measures nothing and lists what there is."""
    assert main(["--package", _EXAMPLES, "fast_enuogh"]) == 2
    assert "fast_enough" in capsys.readouterr().err


def test_every_row_of_the_suite_says_what_it_measures() -> None:
    """Each module under rows/ is found by its name and has a docstring."""
    folder = Path(__file__).with_name("rows")
    assert names_of(full=True) == sorted(path.stem for path in folder.glob("[!_]*.py"))
    for name in names_of(full=True):
        assert (folder / f"{name}.py").read_text().startswith('"""'), f"{ROWS}.{name}"


@pytest.mark.parametrize(
    ("goal", "value", "ratio", "met"),
    [
        (at_least(0.5), 1.0, 0.5, True),
        (at_least(0.5), 1.0, 0.49, False),
        (at_most(1.3), 1.0, 1.3, True),
        (at_most(1.3), 1.0, 1.31, False),
        (at_least(0.5), -1.0, None, False),
        (value_at_most(50.0), 50.0, None, True),
        (value_at_most(50.0), 50.1, 0.2, False),
    ],
)
def test_goals_bound_from_the_side_that_they_name(goal: Any, value: float, ratio: float | None, met: bool) -> None:
    """The bound itself is met; what lies beyond it is not; a ratio that does not exist meets none."""
    assert goal.is_met(value, ratio) is met


def test_medians_and_quantiles_are_of_the_samples() -> None:
    """The median of an even number is between the middle ones; p99 of 100 is the 99th, of 10 the largest."""
    assert of_samples([1.0, 2.0, 3.0, 100.0], [1.0, 1.0, 1.0, 1.0], "s").value == 2.5
    assert quantile([float(number) for number in range(1, 101)], 0.99) == 99.0
    assert quantile([float(number) for number in range(10)], 0.99) == 9.0
    assert quantile([5.0], 0.5) == 5.0


def test_what_grows_at_last_is_told_from_what_grew_once() -> None:
    """Memory that only steps up in the first half grows by 0 at last; a leak by what it leaks in a minute."""
    memory = Memory()
    for second in range(0, 120, 5):
        memory.add({"leaks": 100 + second / 6, "steps": 100 if second < 30 else 140}, float(second))
    assert memory.summary() == {
        "leaks": "100, 110, 119; at most 119; +10.0 a minute at last",
        "steps": "100, 140, 140; at most 140; +0.0 a minute at last",
    }

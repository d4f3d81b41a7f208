"""What runs of workflows leave behind."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Final

import pytest

from kernel.process import collect_rarely
from workflows.worker import COLLECT_AFTER

_OBJECTS: Final = 175
_OPEN: Final = 400
_RUNS: Final = 4_000
# Nine times 10,000 objects, and a quarter of what lives.
_MOST_ENDED: Final = 90_000 // _OBJECTS + _OPEN // 4


class _Run:
    """As many objects as a run of a workflow has, each of which refers to all of them."""

    def __init__(self) -> None:
        self.parts = [[self] for _ in range(_OBJECTS)]


@pytest.fixture
def collected_as_by_the_worker() -> Iterator[None]:
    """The worker's thresholds in this process, where nothing lives but what the test makes."""
    before = gc.get_threshold()
    collect_rarely(COLLECT_AFTER)
    gc.collect()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collected_as_by_the_worker")
def test_ended_runs_do_not_pile_up() -> None:
    """However many runs end, each after it has outlived collections of the young, few of them are still in memory."""
    alive: weakref.WeakSet[_Run] = weakref.WeakSet()
    still_open: deque[_Run] = deque(maxlen=_OPEN)
    most = 0
    for _ in range(_RUNS):
        run = _Run()
        alive.add(run)
        still_open.append(run)
        most = max(most, len(alive) - len(still_open))
    assert most <= _MOST_ENDED, most

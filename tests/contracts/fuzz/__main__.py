"""`python -m tests.contracts.fuzz [--seed N] [--calls N] [--jobs N] [--replay FILE]`

Walks until so many calls were made, and prints the seed and what was reached; a seed gives the same walks whatever the
number of jobs. A walk that breaks a rule is shrunk and printed as steps that `--replay` plays again. Exits with 1 when
a rule was broken, or when some function was reached too seldom to say anything.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.contracts.fuzz.report import Report
from tests.contracts.fuzz.step import drawn, from_text, to_text
from tests.contracts.fuzz.walk import Failure, shrunk, walk
from tests.contracts.fuzz.world import Stage
from tests.contracts.vm import VM

_STEPS = 160
# How often the progress is told.
_WALKS_TOLD = 20


def main() -> int:
    """The exit code."""
    options = _options()
    if options.replay:
        with VM() as vm:
            return _tell(walk(Stage(vm), from_text(options.replay.read_text())))
    seed = time.time_ns() % 1_000_000_000 if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    report = Report()
    failure = fuzz(seed, options.calls, report, options.jobs)
    print(f"{report.calls} calls in {report.walks} walks\n{report.text()}", flush=True)
    if failure is not None:
        print(f"broken after {len(failure.steps)} steps: {failure.rule}; shrinking", flush=True)
        with VM() as vm:
            return _tell(shrunk(Stage(vm), failure))
    # The rarest plays come to a few in a thousand calls.
    missing = report.missing(max(1, options.calls // 2_500))
    print("\n".join(f"reached too seldom: {one}" for one in missing) or "every function was reached often enough")
    return 1 if missing else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.fuzz")
    parser.add_argument("--seed", type=int, default=None, help="the walks' seed; a new one unless given")
    parser.add_argument("--calls", type=int, default=50_000, help="how many calls to make at least")
    parser.add_argument("--jobs", type=int, default=2, help="how many chains to walk on at once")
    parser.add_argument("--replay", type=Path, help="a file of steps to play instead")
    return parser.parse_args()


def fuzz(seed: int, calls: int, report: Report, jobs: int) -> Failure | None:
    """Walks until so many calls were made or a rule was broken; each job has a chain and every so-manieth walk."""
    broken: list[Failure] = []

    def job(first: int) -> Report:
        mine = Report()
        with VM() as vm:
            stage = Stage(vm)
            for number in itertools.count(first, jobs):
                if broken or mine.calls * jobs >= calls:
                    return mine
                failure = walk(stage, drawn(Random(f"{seed}/{number}"), _STEPS), mine.add)
                broken.extend([failure] if failure else [])
                if number % _WALKS_TOLD == 0:
                    print(f"about {min(mine.calls * jobs, calls)} of {calls} calls", file=sys.stderr, flush=True)
        return mine

    with ThreadPoolExecutor(jobs) as pool:
        for one in pool.map(job, range(jobs)):
            report.join(one)
    return broken[0] if broken else None


def _tell(failure: Failure | None) -> int:
    if failure is None:
        print("no rule was broken")
        return 0
    print(f"broken: {failure.rule}\n\nwhat happened\n" + "\n".join(failure.log))
    print(f"\n{len(failure.steps)} steps, to be played again with --replay\n{to_text(failure.steps)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

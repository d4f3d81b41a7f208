"""``python -m tests.fuzz.codec --inputs N --seed S``: feeds the codec N inputs; exits 1 when one is not handled.

That input is then made as small as hypothesis can, and printed. An input may take 20 s of processor time, and in this
process 2 GiB of memory, before it counts as a hang.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import inputs
from tests.fuzz.targets import REFUSED, TARGETS, Target

_PROCESSOR_SECONDS: Final = 20.0
_MEMORY_BYTES: Final = 2 << 30


class Hang(Exception):
    """An input took too long."""


@dataclass
class Outcome:
    """What came of a run. `failure` is the smallest input found that was not handled, and what it raised."""

    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failure: tuple[str, bytes, Exception] | None = None

    @property
    def total(self) -> int:
        """All inputs that were handled."""
        return self.read.total() + self.refused.total()


def run(count: int, start: int, targets: Sequence[Target] = TARGETS) -> Outcome:
    """Feeds `count` inputs, drawn from the seed `start`, to the targets."""
    outcome = Outcome()
    fed: tuple[Target, bytes] | None = None
    shares = [target for target in targets for _ in range(target.share)]
    chosen = st.sampled_from(shares).flatmap(lambda target: st.tuples(st.just(target), inputs(target.name)))

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(chosen)
    def feed(pair: tuple[Target, bytes]) -> None:
        nonlocal fed
        fed = pair
        target, data = pair
        try:
            _bounded(target, data)
        except REFUSED:
            outcome.refused[target.name] += 1
        else:
            outcome.read[target.name] += 1

    previous = signal.signal(signal.SIGVTALRM, _hang)
    try:
        feed()
    except Exception as error:  # noqa: BLE001 - whatever was fuzzed raised it; the smallest such input came last
        assert fed is not None
        outcome.failure = (fed[0].name, fed[1], error)
    finally:
        signal.signal(signal.SIGVTALRM, previous)
    return outcome


def _bounded(target: Target, data: bytes) -> None:
    """Reads within the bound on processor time, which a busy machine does not shorten."""
    signal.setitimer(signal.ITIMER_VIRTUAL, _PROCESSOR_SECONDS)
    try:
        target.read(data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang


def report(outcome: Outcome, start: int) -> str:
    """The outcome for people."""
    lines = [f"seed {start}"]
    for name in sorted(outcome.read | outcome.refused):
        lines.append(f"  {name}: {outcome.read[name]} read, {outcome.refused[name]} refused")
    if outcome.failure is not None:
        name, data, error = outcome.failure
        lines.append(f"FAILED: {name} raised {type(error).__name__}: {error}")
        lines.append(f"  input, {len(data)} bytes: {data[:2_000].hex()}")
    lines.append(f"{outcome.total} inputs handled, {0 if outcome.failure is None else 1} failed")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Runs and reports; 1 when an input was not handled."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.codec", description="Fuzzes the Stacks codec.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    outcome = run(options.inputs, options.seed)
    print(report(outcome, options.seed))
    return 0 if outcome.failure is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

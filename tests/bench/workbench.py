"""What a row is given: a folder, a Postgres, a voice, and how to measure in turns."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TURNS: Final = 7
Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Workbench:
    """`folder` is empty and thrown away afterwards. `full`: there is time for the long version."""

    name: str
    folder: Path
    full: bool = False

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def postgres(self) -> Iterator[str]:
        """The URL of a running server that does not wait for the disk.

        On purpose: waiting for the disk is the same for ours and for the yardstick, and would hide what ours costs.
        """
        # Not needed by every row, and slow to import.
        from tests.postgres import running_postgres

        with running_postgres() as url:
            yield url

    async def in_turns(
        self, ours: Measure, yardstick: Measure, turns: int | None = None
    ) -> tuple[list[float], list[float]]:
        """Samples of both, one after the other, so that what the machine does besides meets both alike.

        The first turn of each only warms up. Who goes first changes from turn to turn.
        """
        wanted = turns or (_TURNS * 3 if self.full else _TURNS)
        samples: tuple[list[float], list[float]] = ([], [])
        sides = ((ours, samples[0]), (yardstick, samples[1]))
        for turn in range(wanted + 1):
            for measure, kept in sides if turn % 2 else sides[::-1]:
                gc.collect()
                sample = await measure()
                if turn:
                    kept.append(sample)
            if turn:
                self.say(f"turn {turn} of {wanted}: ours {samples[0][-1]:,.2f}, yardstick {samples[1][-1]:,.2f}")
        return samples

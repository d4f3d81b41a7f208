"""`python -m tests.chaos.gateway --intents N --seed S`: exits 0 only if every promise of the gateway held."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Final

from tests.chaos.gateway.play import STORM_PART, play, say
from tests.chaos.gateway.report import broken, differences, show, summary
from tests.chaos.gateway.shares import shortcomings

_FOLDER: Final = Path("build") / "chaos"
_INTERRUPTED: Final = 130


def main() -> int:
    """Plays once; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.gateway", description=__doc__)
    parser.add_argument("--intents", type=int, default=1000, help="how many intents")
    parser.add_argument("--seed", type=int, default=1, help="decides orders, faults, forks and kills")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="for logs, by seed")
    given = parser.parse_args()
    if given.intents < 1:
        parser.error("--intents: at least 1")
    folder = given.folder / f"seed-{given.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return asyncio.run(_run(given.intents, given.seed, folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the play itself broke: who reads the last line must hear of it)
        traceback.print_exc()
        print(broken(given.intents, given.seed, error), flush=True)
        return 1


async def _run(intents: int, seed: int, folder: Path) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    outcome = await play(intents, seed, folder)
    weather = outcome.weather
    missing = shortcomings(outcome.replicas.killed, weather.forks.total(), weather.drawn, weather.injected)
    if outcome.ended_in_storm < STORM_PART * intents:
        missing.append(f"only {outcome.ended_in_storm} intents ended in the storm")
    show(outcome, missing)
    good = outcome.verdict.holds and not differences(outcome) and not missing
    if not good:
        say(f"logs: {folder}")
    print(summary(outcome, missing, seed), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())

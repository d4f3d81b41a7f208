"""How a process starts and ends: uvloop, logging, one clear line for what a person must mend."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

import uvloop

from kernel.errors import FailedPrecondition
from kernel.log import configure_logging
from kernel.settings import SettingsError

# When garbage is collected: as `gc.set_threshold` takes it.
CollectAfter = tuple[int, int, int]
# A collection looks at every object that may be part of a cycle: by Python's own threshold, each 700 new ones, which
# is a few rows, that took a fifth of the time in which blocks are read.
_COLLECT_AFTER: Final[CollectAfter] = (20_000, 20, 20)


def run_process(service: str, main: Coroutine[Any, Any, None], collect_after: CollectAfter = _COLLECT_AFTER) -> None:
    """Runs a long-lived process to its end. Exits 2 with one line for a wrong setting, a port in use, or a state
    of its database that a person must mend first. Whoever leaves much in cycles says how soon to collect it."""
    configure_logging(service, os.environ.get("LOG_LEVEL", "INFO"))
    collect_rarely(collect_after)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except (SettingsError, FailedPrecondition, OSError) as error:
        print(f"{service}: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def collect_rarely(after: CollectAfter = _COLLECT_AFTER) -> None:
    """Garbage is collected as seldom as a process of ours bears; what was imported stays, and is never looked at."""
    gc.freeze()
    gc.set_threshold(*after)


def end_command(code: int) -> NoReturn:
    """Ends a short-lived process that used the Temporal client, whose threads can crash a normal exit.

    Flushes and leaves without running the interpreter's own end (temporalio issue 300).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

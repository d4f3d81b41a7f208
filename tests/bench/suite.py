"""Finds rows, runs each in a process of its own, gathers what they measured."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROWS: Final = "tests.bench.rows"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_ROW_SECONDS: Final = 600.0
_FULL_ROW_SECONDS: Final = 3_600.0
_STOP_SECONDS: Final = 30.0
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a run measured and what it could not."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when every row was measured, whether or not its goal was met."""
        return 1 if self.failures else 0


def names_of(package: str = ROWS, *, full: bool = False) -> list[str]:
    """The rows of a package, in the alphabet's order; those that say `FULL_ONLY = True` only when `full`."""
    paths = importlib.import_module(package).__path__
    found = sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))
    if full:
        return found
    return [name for name in found if not getattr(importlib.import_module(f"{package}.{name}"), "FULL_ONLY", False)]


def run_suite(names: Sequence[str], package: str, *, full: bool, say: Say) -> Outcome:
    """Measures the rows one after the other; one that fails does not keep the others from their turn."""
    outcome = Outcome()
    for number, name in enumerate(names, 1):
        start = time.monotonic()
        say(f"[{number}/{len(names)}] {name}")
        try:
            row = _measured(name, package, full=full)
        except RowFailed as error:
            outcome.failures.append({"name": name, "error": str(error)})
            say(f"[{number}/{len(names)}] {name}: NOT MEASURED: {error}")
            continue
        outcome.rows.append(row)
        ratio = "" if row["ratio"] is None else f", ratio {row['ratio']:.3g}"
        verdict = "" if row["goal"] is None else f", goal {'met' if row['met'] else 'MISSED'}"
        seconds = time.monotonic() - start
        say(f"[{number}/{len(names)}] {name}: {row['value']:,.5g} {row['unit']}{ratio}{verdict} ({seconds:.0f} s)")
    return outcome


class RowFailed(Exception):
    """A row was not measured; the message is one line."""


def _measured(name: str, package: str, *, full: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.one_row", package, name, *(["--full"] if full else [])]
    seconds = _FULL_ROW_SECONDS if full else _ROW_SECONDS
    # A session of its own, so that whatever a hanging row started ends with it.
    # gRPC's fork handlers are of no use to a process that only starts programs.
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    with subprocess.Popen(
        command, cwd=_REPOSITORY, env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            answer, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # It stops its servers itself, Postgres among them, which no signal to the group would reach.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            raise RowFailed(f"not done after {seconds:.0f} s") from None
        finally:
            _end(process)
    lines = answer.decode().strip().splitlines()
    if process.returncode != 0 or not lines:
        raise RowFailed(f"its process ended with {process.returncode}; its words are above")
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return

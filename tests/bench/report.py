"""What a run leaves: a file for machines, a table for people."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.row import ABOUT
from tests.bench.suite import Outcome


def write_report(outcome: Outcome, path: Path, seconds: float) -> None:
    """Writes the file as a whole or not at all."""
    content = {
        "about": dict(ABOUT),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_average": list(os.getloadavg()),
        },
        "seconds": round(seconds, 1),
        "failures": outcome.failures,
        "rows": outcome.rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def print_table(outcome: Outcome, console: Console) -> None:
    """One line per row."""
    table = Table(title="Benchmarks: ours beside the yardstick of the same run", title_justify="left")
    table.add_column("row", overflow="fold")
    for heading in ("ours", "yardstick", "ratio", "goal"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    for row in outcome.rows:
        table.add_row(*_cells(row))
    for failure in outcome.failures:
        table.add_row(failure["name"], "not measured", "", "", "", "[red]failed[/red]")
    console.print(table)


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    goal = "" if row["goal"] is None else f"{row['goal_kind']} {row['goal']:g}"
    met = "" if row["goal"] is None else "[green]yes[/green]" if row["met"] else "[red]no[/red]"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
    return row["name"], f"{row['value']:,.5g} {row['unit']}", f"{row['yardstick']:,.5g}", ratio, goal, met

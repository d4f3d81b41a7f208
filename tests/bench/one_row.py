"""Measures one row in this process: `python -m tests.bench.one_row PACKAGE NAME`. Its last line is the row as JSON."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import tempfile
from pathlib import Path

import uvloop

from kernel.process import collect_rarely
from tests.bench.row import Row
from tests.bench.workbench import Workbench


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    parser.add_argument("name")
    parser.add_argument("--full", action="store_true")
    chosen = parser.parse_args()
    module = importlib.import_module(f"{chosen.package}.{chosen.name}")
    # As our processes do: some rows run their parts in this one.
    collect_rarely()
    with tempfile.TemporaryDirectory(prefix="bithedge-bench-") as folder:
        bench = Workbench(chosen.name, Path(folder), chosen.full)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            row: Row = runner.run(module.measure(bench))
    print(json.dumps(row.as_json(chosen.name)), flush=True)


if __name__ == "__main__":
    main()

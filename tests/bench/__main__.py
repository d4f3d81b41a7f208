"""`python -m tests.bench [--full] [--output FILE] [ROW ...]`: measures all rows, or those named.

All rows together go into build/bench.json; rows that are named go into a file only when one is named too. Exits 0 when
everything was measured, 1 when a row could not be, 2 for a row that does not exist.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.bench.report import print_table, write_report
from tests.bench.suite import ROWS, names_of, run_suite

_OUTPUT: Final = Path("build") / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", metavar="ROW", nargs="*", help="names of rows; all when none is given")
    parser.add_argument("--full", action="store_true", help="long rows too, and more samples of each")
    parser.add_argument("--output", type=Path, help=f"the JSON file; {_OUTPUT} when all rows are measured")
    parser.add_argument("--package", default=ROWS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    known = names_of(chosen.package, full=True)
    if unknown := sorted(set(chosen.rows) - set(known)):
        print(f"bench: there is no row {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    names = chosen.rows or names_of(chosen.package, full=chosen.full)
    start = time.monotonic()
    outcome = run_suite(names, chosen.package, full=chosen.full, say=lambda text: print(text, flush=True))
    seconds = time.monotonic() - start
    output = chosen.output or (None if chosen.rows else _OUTPUT)
    print_table(outcome, Console())
    if output is not None:
        write_report(outcome, output, seconds)
        print(f"{len(outcome.rows)} rows in {seconds:.0f} s, written to {output}")
    return outcome.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

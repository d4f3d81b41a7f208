"""Folders of whole stacks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.local.layout import REPOSITORY

_SECONDS: Final = 300


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that Postgres' own user can reach when root runs the tests; pytest closes its folders to others."""
    with tempfile.TemporaryDirectory(prefix="bithedge-e2e-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def demo(open_folder: Path) -> dict[str, Any]:
    """What one run of the demo wrote."""
    folder = open_folder / "demo"
    output = folder / "demo.json"
    command = [sys.executable, "-m", "deploy.demo", "--state", str(folder / "state"), "--output", str(output)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    written: dict[str, Any] = json.loads(output.read_text())
    return written

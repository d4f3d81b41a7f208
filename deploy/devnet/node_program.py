"""Finds the Node program that the development processes run on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def node_executable() -> str:
    """Node of this interpreter's environment, else the one on PATH; raises FileNotFoundError without either."""
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise FileNotFoundError("node is not installed: run `make setup`")
    return found


def node_environment() -> dict[str, str]:
    """This process's environment for a Node program, without what would change how Node runs."""
    return {key: value for key, value in os.environ.items() if key != "NODE_OPTIONS"}

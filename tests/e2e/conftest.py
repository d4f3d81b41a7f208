"""Folders of whole stacks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that Postgres' own user can reach when root runs the tests; pytest closes its folders to others."""
    with tempfile.TemporaryDirectory(prefix="bithedge-e2e-") as folder:
        yield Path(folder)

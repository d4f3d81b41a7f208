"""Migrations stand in one line: two people's new files must not have the same number."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

_FOLDERS = sorted(Path("services").glob("*/migrations"))


@pytest.mark.parametrize("folder", _FOLDERS, ids=[folder.parent.name for folder in _FOLDERS])
def test_migrations_have_one_head(folder: Path) -> None:
    """Each service's migrations lead to one newest revision, by way of all of them."""
    script = ScriptDirectory(str(folder))
    assert len(script.get_heads()) == 1
    files = [path for path in (folder / "versions").glob("*.py") if path.stem != "__init__"]
    assert len(list(script.walk_revisions())) == len(files)

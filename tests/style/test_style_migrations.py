"""Migrations of a service are one line of numbered files."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.style.tracked import REPOSITORY, relative, text_of, tracked

_FOLDERS = sorted({path.parent for path in tracked(".py") if path.parent.name == "versions"})
_VALUE = r'^{} = (?:"(\d{{4}})"|None)$'


def _value(path: Path, name: str) -> str | None:
    match = re.search(_VALUE.format(name), text_of(path), re.MULTILINE)
    assert match is not None, f"{relative(path)} has no {name}"
    return match[1]


@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: str(folder.relative_to(REPOSITORY)))
def test_each_migration_follows_the_one_before(folder: Path) -> None:
    """Two that were made at the same time would leave a database without a newest one."""
    files = sorted(path for path in tracked(".py") if path.parent == folder and path.name[0].isdigit())
    assert [path.name[:4] for path in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    assert [_value(path, "revision") for path in files] == [path.name[:4] for path in files]
    assert _value(files[0], "down_revision") is None
    for before, after in pairwise(files):
        assert _value(after, "down_revision") == before.name[:4]

"""The files of the repository that a person wrote."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def tracked(*endings: str) -> tuple[Path, ...]:
    """Tracked files with these endings (`.py`), or all; generated code is left out, and what was just deleted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    paths = (REPOSITORY / name for name in listed if name and not name.startswith("gen/"))
    return tuple(path for path in paths if path.is_file() and (not endings or path.suffix in endings))


def relative(path: Path) -> str:
    """A path as messages name it."""
    return path.relative_to(REPOSITORY).as_posix()


@functools.cache
def text_of(path: Path) -> str:
    """The text of a file; empty for one that is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text_of(path))

"""Files stay small, finished, and free of addresses."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

import pytest

from tests.style.tracked import REPOSITORY, relative, text_of, tracked, tree_of

_FILE_LINES = 300
_FUNCTION_LINES = 40
_CODE = (".py", ".clar", ".mjs")
# Put together here, so that this file does not name what it looks for.
_UNFINISHED = re.compile(
    "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error", r"pytest\.(skip|x" + "fail)"))
    + r"|mark\.(skip|x"
    + r"fail)|time\.sl"
    + r"eep\("
)
_REGISTRIES = re.compile(
    "|".join(
        re.escape(name)
        for name in (
            "pypi" + ".org",
            "python" + "hosted.org",
            "npm" + "js.org",
            "npm" + "js.com",
            "yarn" + "pkg.com",
            "crates" + ".io",
            "proxy." + "golang.org",
            "docker" + ".io",
            "gh" + "cr.io",
            "gc" + "r.io",
            "quay" + ".io",
            "buf" + ".build",
        )
    )
)
_MACHINE_PATHS = re.compile("/(" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me")) + r")/[a-z0-9_.-]")


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in tracked(".py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{relative(path)}:{node.lineno} {node.name}", node


def _matches(pattern: re.Pattern[str], *endings: str) -> list[str]:
    return [
        f"{relative(path)}:{number} {line.strip()[:100]}"
        for path in tracked(*endings)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_files_have_at_most_300_lines() -> None:
    """A longer one has several jobs and is split by them."""
    sizes = {relative(path): len(text_of(path).splitlines()) for path in tracked(*_CODE)}
    assert {name: size for name, size in sizes.items() if size > _FILE_LINES} == {}


def test_functions_have_at_most_40_lines() -> None:
    """Decorators and docstring included or not, a longer one hides a step that has a name."""
    sizes = {where: (node.end_lineno or node.lineno) - node.lineno + 1 for where, node in _functions()}
    assert {where: size for where, size in sizes.items() if size > _FUNCTION_LINES} == {}


def test_nothing_is_left_unfinished() -> None:
    """No markers of work to do, no stubs, no tests left out, no sleeping threads."""
    assert _matches(_UNFINISHED, *_CODE, ".sh", ".proto") == []


def test_no_handler_catches_everything() -> None:
    """`except Exception` hides bugs; a boundary that needs it says so with a noqa."""
    found = []
    for path in tracked(".py"):
        lines = text_of(path).splitlines()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node) and "noqa: BLE001" not in lines[node.lineno - 1]:
                found.append(f"{relative(path)}:{node.lineno}")
    assert found == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _BROAD) for kind in caught)


_BROAD = frozenset({"Exception", "BaseException"})


def test_no_file_names_a_registry() -> None:
    """Packages come from wherever the machine that builds is told to get them."""
    assert _matches(_REGISTRIES) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    """What works only where it was written is not finished."""
    found = _matches(_MACHINE_PATHS, *_CODE, ".toml", ".json", ".md", ".sh", ".yaml", ".yml")
    assert found == []


def test_lock_files_name_versions_and_hashes_and_no_addresses() -> None:
    """Every package is pinned by hash; nothing says where it was once downloaded."""
    for path in tracked(".txt"):
        if path.name.startswith("requirements"):
            text = text_of(path)
            assert "://" not in text
            assert re.search(r"^\s*-(?!-hash)", text, re.MULTILINE) is None
            for line in re.split(r"(?<!\\)\n", text):
                pinned = re.match(r"[a-zA-Z0-9]", line)
                assert pinned is None or "--hash=sha256:" in line, line[:80]
    for path in tracked(".json"):
        if path.name == "package-lock.json":
            for name, package in json.loads(text_of(path))["packages"].items():
                assert "resolved" not in package, f"{relative(path)}: {name}"
                assert not name or "integrity" in package, f"{relative(path)}: {name}"


@pytest.mark.parametrize("folder", ["deploy/devnet", "deploy/wallet"])
def test_node_folders_keep_addresses_out_of_their_locks(folder: str) -> None:
    """The setting that does it is committed beside the lock."""
    assert "omit-lockfile-registry-resolved=true" in (REPOSITORY / folder / ".npmrc").read_text()


def test_migrations_of_a_service_form_one_line() -> None:
    """Each is numbered in its name and follows the one before: two with one number would stop every start."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for path in tracked(".py"):
        if path.parent.name == "versions":
            told = {
                node.targets[0].id: node.value.value
                for node in tree_of(path).body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                if isinstance(node.value, ast.Constant) and node.targets[0].id in ("revision", "down_revision")
            }
            place = relative(path).rpartition("/")[0]
            found.setdefault(place, []).append((path.name[:4], told["revision"], told["down_revision"]))
    assert found
    for lines in found.values():
        numbers = [f"{number:04}" for number in range(1, len(lines) + 1)]
        assert sorted(lines, key=str) == [
            (one, one, before) for one, before in zip(numbers, [None, *numbers], strict=False)
        ]

"""Who may import what and who may hold what; docstrings; the rules that the import contracts cannot say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.style.tracked import REPOSITORY, relative, text_of, tracked, tree_of

_DOMAIN = re.compile(r"services/([a-z_]+)/domain/[a-z_]+\.py")
_KERNEL_FOR_DOMAINS = frozenset({"units", "clock", "ids", "errors", "pricing"})
_STORE = re.compile(r"services/[a-z_]+/(store[a-z_]*|tables|migrations/.*)(\.py)?")
_STATEMENTS = frozenset({"select", "insert", "update", "delete", "text", "col"})
_SESSION_CALLS = frozenset({"exec", "execute"})
# Each reads the environment of its own process.
_ENVIRONMENT = re.compile(r"(services/[a-z_]+|workflows)/config\.py|kernel/process\.py|(cli|deploy)/.*|tests/.*")


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported: `from a import b` is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _services() -> Iterator[Path]:
    return (path for path in tracked(".py") if relative(path).startswith("services/"))


def _domain_may_import(service: str, name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "kernel":
        return parts[1] in _KERNEL_FOR_DOMAINS
    if parts[0] == "services":
        return parts[1:3] == [service, "domain"]
    return parts[0] == "numpy" or parts[0] in sys.stdlib_module_names


def test_the_import_contracts_hold() -> None:
    """The contracts of .importlinter, over every module."""
    program = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_service_is_under_the_import_contracts() -> None:
    """A new service cannot be forgotten in the list of those that stay apart."""
    contracts = (REPOSITORY / ".importlinter").read_text()
    names = {relative(path).split("/")[1] for path in _services() if relative(path).count("/") > 1}
    assert names
    assert {name for name in names if f"\n    services.{name}\n" not in contracts} == set()


def test_domains_import_what_they_may_and_nothing_else() -> None:
    """The standard library, numpy, five modules of the kernel, and their own domain."""
    found = []
    for path in tracked(".py"):
        matched = _DOMAIN.fullmatch(relative(path))
        if matched:
            found += [
                f"{relative(path)}:{line} {name}"
                for line, name in _imports(tree_of(path))
                if not _domain_may_import(matched[1], name)
            ]
    assert found == []


def test_sql_is_in_stores() -> None:
    """Elsewhere a session is only passed on: no statement is built and none is run."""
    found = []
    for path in _services():
        if _STORE.fullmatch(relative(path)):
            continue
        tree = tree_of(path)
        built = [
            (line, name)
            for line, name in _imports(tree)
            if name.startswith(("sqlalchemy", "sqlmodel")) and name.rpartition(".")[2] in _STATEMENTS
        ]
        run = [(call.lineno, call.func.attr) for call in _session_calls(tree) if isinstance(call.func, ast.Attribute)]
        found += [f"{relative(path)}:{line} {name}" for line, name in (*built, *run)]
    assert found == []


def _session_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SESSION_CALLS:
            yield node


def test_only_config_reads_the_environment() -> None:
    """What a process can be told stands in one dataclass."""
    found = [
        f"{relative(path)}:{number}"
        for path in tracked(".py")
        if not _ENVIRONMENT.fullmatch(relative(path))
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if "os.environ" in line or "os.getenv" in line
    ]
    assert found == []


def test_public_names_of_kernel_and_domains_have_a_docstring() -> None:
    """Units, errors and sources are said where a name is used by others."""
    found = []
    for path in tracked(".py"):
        name = relative(path)
        if name.startswith("kernel/") or _DOMAIN.fullmatch(name):
            found += [
                f"{name}:{node.lineno} {node.name}" for node in _public(tree_of(path)) if not ast.get_docstring(node)
            ]
    assert found == []


def _public(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def test_every_test_says_what_it_proves() -> None:
    """One docstring each; without it nobody knows what a failure means."""
    found = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in tracked(".py")
        if relative(path).startswith("tests/")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert found == []


def test_there_is_no_drawer_for_everything() -> None:
    """A module is named by its job."""
    names = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [relative(path) for path in tracked(".py") if path.name in names] == []

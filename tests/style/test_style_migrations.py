"""Migrations of a service are one line: two with the same parent would keep every process from starting."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict

from tests.style.tracked import relative, tracked, tree_of


def _assigned(tree: ast.Module, name: str) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            assert isinstance(node.value, ast.Constant)
            return None if node.value.value is None else str(node.value.value)
    raise AssertionError(f"{name} is missing")


def test_each_migration_has_one_successor() -> None:
    """One first migration per service, and no two after the same one."""
    parents: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for path in tracked(".py"):
        service, _, name = relative(path).partition("/migrations/versions/")
        if name and "/" not in name:
            parents[service][_assigned(tree_of(path), "down_revision")] += 1
    assert parents
    for service, counts in parents.items():
        assert counts[None] == 1, service
        assert [parent for parent, count in counts.items() if count > 1] == [], service

"""What the documents point at is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.style.tracked import REPOSITORY, relative, text_of, tracked, tree_of

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s]+)\)")
_ADR = re.compile(r"(?P<number>\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md")
_SYMBOL = re.compile(r"`(?P<name>[A-Za-z_][A-Za-z0-9_.-]*?)(\(\))?`")
_LINE = re.compile(r"L(\d+)(-L\d+)?")
_ADR_SECTIONS = ("## Context", "## Decision", "## Consequences")
_CLARITY_NAME = re.compile(r"\((?:define-[a-z-]+)\s+\(?\s*([a-zA-Z][a-zA-Z0-9!?<>=/*_-]*)")
_OTHER_NAME = re.compile(
    r"(?:^|\s)(?:export\s+)?(?:async\s+)?(?:function|class|const|let|message|service|rpc|enum)\s+([A-Za-z_]\w*)"
    r"|^([a-zA-Z_-]+):",
    re.MULTILINE,
)


def _links() -> Iterator[tuple[Path, str, str, str]]:
    """Document, text, path and fragment of every relative link."""
    for path in tracked(".md"):
        for match in _LINK.finditer(_without_code(text_of(path))):
            target, _, fragment = match["target"].partition("#")
            if "://" not in match["target"] and not target.startswith("mailto:"):
                yield path, match["text"], target, fragment


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _file(document: Path, target: str) -> Path:
    return (document.parent / target).resolve() if target else document


def _defined(path: Path) -> set[str]:
    """The names that a file defines; `Class.method` too in Python."""
    text = text_of(path)
    if path.suffix == ".py":
        return set(_python_names(tree_of(path)))
    if path.suffix == ".clar":
        return set(_CLARITY_NAME.findall(text))
    return {first or second for first, second in _OTHER_NAME.findall(text)}


def _python_names(node: ast.AST, prefix: str = "") -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child.name
            yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from _python_names(child, f"{child.name}.")
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id
                    yield prefix + target.id


def _headings(path: Path) -> set[str]:
    titles = re.findall(r"^#+ +(.+?) *$", _without_code(text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_to_files_that_are_there() -> None:
    """Every relative link of every document names a tracked file or a folder that holds some."""
    files = set(tracked()) | set((REPOSITORY / "gen").rglob("*.py*"))
    known = files | {folder for path in files for folder in path.parents}
    broken = [
        f"{relative(document)}: {target}"
        for document, _, target, _ in _links()
        if target and _file(document, target) not in known
    ]
    assert broken == []


def test_links_on_a_symbol_lead_to_its_definition() -> None:
    """A link whose text is `name` leads to a file that defines the name; so does `path#name`."""
    broken = []
    for document, text, target, fragment in _links():
        path = _file(document, target)
        if path.is_file() and path.suffix in (".py", ".clar", ".mjs", ".proto"):
            symbol = _SYMBOL.fullmatch(text)
            names = [symbol["name"]] if symbol and not _names_the_file(symbol["name"], path) else []
            names += [fragment] if fragment and not _LINE.fullmatch(fragment) else []
            broken += [f"{relative(document)}: {name} in {target}" for name in names if name not in _defined(path)]
    assert broken == []


def _names_the_file(name: str, path: Path) -> bool:
    return relative(path).endswith(name) or path.stem == name


def test_links_on_a_line_name_one_that_exists() -> None:
    """`#L10` lies within the file."""
    broken = [
        f"{relative(document)}: {target}#{fragment}"
        for document, _, target, fragment in _links()
        if (line := _LINE.fullmatch(fragment))
        and _file(document, target).is_file()
        and int(line[1]) > len(text_of(_file(document, target)).splitlines())
    ]
    assert broken == []


def test_links_on_a_heading_name_one_that_exists() -> None:
    """`document.md#a-heading` is a heading of that document."""
    broken = [
        f"{relative(document)}: {target}#{fragment}"
        for document, _, target, fragment in _links()
        if fragment
        and (path := _file(document, target)).suffix == ".md"
        and path.is_file()
        and fragment not in _headings(path)
    ]
    assert broken == []


def test_decisions_are_numbered_once_and_without_gaps() -> None:
    """docs/adr/NNNN-title.md from 0001 on; each has its context, decision and consequences."""
    records = sorted(path for path in tracked(".md") if path.parent == REPOSITORY / "docs" / "adr")
    numbers = []
    for path in records:
        if path.name == "README.md":
            continue
        matched = _ADR.fullmatch(path.name)
        assert matched, relative(path)
        numbers.append(int(matched["number"]))
        text = text_of(path)
        assert text.startswith(f"# {matched['number']} "), relative(path)
        positions = [text.find(section) for section in _ADR_SECTIONS]
        assert -1 not in positions, relative(path)
        assert positions == sorted(positions), relative(path)
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_symbols_that_links_are_checked_against_are_found() -> None:
    """The check itself works: known names of each kind of file are found, made-up ones are not."""
    here = _defined(Path(__file__))
    assert {"_LINK", "_defined", "test_links_lead_to_files_that_are_there"} <= here
    assert "no_such_name" not in here
    assert "Database.transaction" in _defined(REPOSITORY / "kernel" / "database.py")
    assert "settle-policy" in _defined(REPOSITORY / "contracts" / "contracts" / "policy-registry.clar")
    assert "IdentityService" in _defined(
        REPOSITORY / "proto" / "bithedge" / "identity" / "v1" / "identity_service.proto"
    )

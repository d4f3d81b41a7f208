"""One vector and what was found about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

DESCRIPTIVE = frozenset({"name", "note", "public_keys_note", "reason", "what", "kind", "source", "id"})
"""Fields that say what an entry is, and hold nothing to compare."""
_BROKEN = (ValueError, LookupError, TypeError, ArithmeticError)


class Entry:
    """The fields of one vector. Reading a field marks it as used, so that none is forgotten silently."""

    def __init__(self, section: str, index: int, fields: dict[str, Any]) -> None:
        self.title = f"{section}[{index}] {fields.get('name', fields.get('what', ''))}".rstrip()
        self.informational = section.endswith("_informational")
        self.failures: list[str] = []
        self.notes: list[str] = []
        self._fields = fields
        self._used: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        """A field; a missing one raises `KeyError`, which fails the entry."""
        self._used.add(name)
        return self._fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str, default: Any) -> Any:
        """A field that not every entry of its section has."""
        return self[name] if name in self._fields else default

    @property
    def unused(self) -> list[str]:
        """Fields that no check has read."""
        return sorted(set(self._fields) - self._used - DESCRIPTIVE)

    def require(self, what: str, holds: bool) -> None:
        """Notes a failure unless `holds`."""
        if not holds:
            self.failures.append(what)

    def equal(self, name: str, ours: object) -> None:
        """The field must be exactly ours."""
        theirs = self[name]
        if type(theirs) is not type(ours) or theirs != ours:
            self.failures.append(f"{name}: expected {theirs!r}, got {ours!r}")

    def close(self, name: str, ours: float, relative: float, absolute: float) -> None:
        """The field must be ours to within the larger of the two bounds."""
        theirs = float(self[name])
        if not math.isclose(theirs, ours, rel_tol=relative, abs_tol=absolute):
            self.failures.append(f"{name}: expected {theirs!r}, got {ours!r}")

    def peer(self, *names: str) -> None:
        """Fields that say whether the peer accepts what we refuse: said aloud where it does."""
        for name in names:
            if name in self._fields and self[name]:
                self.notes.append(f"{name}: {self[name]}; we refuse")

    def refused(self, what: str, action: Callable[[], object], error: type[Exception]) -> None:
        """The action must raise `error`, and no other."""
        try:
            action()
        except error:
            return
        except _BROKEN as other:
            self.failures.append(f"{what}: raised {type(other).__name__} and not {error.__name__}")
            return
        self.failures.append(f"{what}: accepted")


Check = Callable[[Entry], None]


def check_sections(document: dict[str, Any], checks: dict[str, Check]) -> Iterator[Entry]:
    """Runs each section's check on each of its entries; a section without a check is one failed entry."""
    for section, content in document.items():
        if not isinstance(content, list):
            continue
        check = checks.get(section)
        if check is None:
            unknown = Entry(section, 0, {})
            unknown.failures.append("no check knows this section")
            yield unknown
            continue
        yield from check_entries(section, content, check)


def check_entries(section: str, content: Iterable[dict[str, Any]], check: Check) -> Iterator[Entry]:
    """Runs one check on each entry; what it raises is a failure of that entry."""
    for index, fields in enumerate(content):
        entry = Entry(section, index, fields)
        try:
            check(entry)
        except _BROKEN as error:
            entry.failures.append(f"{type(error).__name__}: {error}")
        entry.notes.extend(f"field not compared: {name}" for name in entry.unused)
        yield entry

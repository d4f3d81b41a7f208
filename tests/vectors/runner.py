"""Reads vector files, finds out what each holds, and reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.vectors import (
    addresses,
    capped_puts,
    clarity_values,
    messages,
    quantlib_puts,
    transactions,
    volatility,
)
from tests.vectors.entry import Entry

_SHAPES: tuple[ModuleType, ...] = (
    addresses,
    clarity_values,
    transactions,
    messages,
    quantlib_puts,
    capped_puts,
    volatility,
)


@dataclass
class Report:
    """What was found in one file, or in all of them."""

    passed: int = 0
    failed: int = 0
    informational: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Counts one entry; an informational one is reported and not counted."""
        verdict = "FAILED" if entry.failures else "ok"
        if entry.informational:
            self.informational += 1
            verdict = "differs" if entry.failures else "informational"
        elif entry.failures:
            self.failed += 1
        else:
            self.passed += 1
        self.lines.extend(f"  {verdict}: {entry.title}: {text}" for text in (*entry.failures, *entry.notes))

    def fail(self, text: str) -> None:
        """Counts a failure that belongs to no entry."""
        self.failed += 1
        self.lines.append(f"  FAILED: {text}")

    def merge(self, other: Report) -> None:
        """Adds the counts of another report."""
        self.passed += other.passed
        self.failed += other.failed
        self.informational += other.informational


def check_document(document: dict[str, Any]) -> Report:
    """Checks every entry of a document; one of no known shape, or without entries, is a failure."""
    report = Report()
    shapes = [shape for shape in _SHAPES if shape.recognises(document)]
    if len(shapes) != 1:
        report.fail("the document has no known shape")
        return report
    for entry in shapes[0].check(document):
        report.add(entry)
    if report.passed + report.failed + report.informational == 0:
        report.fail("the document holds no entries")
    return report


def check_file(path: Path) -> Report:
    """Checks every entry of a JSON file; an unreadable one is a failure."""
    report = Report()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        report.fail(f"cannot be read: {error}")
        return report
    if not isinstance(document, dict):
        report.fail("the document is not an object")
        return report
    return check_document(document)


def main(arguments: Sequence[str]) -> int:
    """Checks the files and ends with ``N passed, M failed``; answers 1 when any failed or none passed."""
    total = Report()
    for name in arguments:
        report = check_file(Path(name))
        extra = f", {report.informational} informational" if report.informational else ""
        print(f"{name}: {report.passed} passed, {report.failed} failed{extra}")
        for line in report.lines:
            print(line)
        total.merge(report)
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed or not total.passed else 0

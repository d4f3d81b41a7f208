"""Writes the measured parts of the documents about the contracts: `python -m tests.contracts.document`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.local.contracts import CHANGE_DELAY_BLOCKS
from tests.contracts.access import CALLERS, RULES, THROUGH
from tests.contracts.chain import Chain
from tests.contracts.costs import BLOCK_LIMIT, Cost, measured
from tests.contracts.thieves import limits_of, thieves_table
from tests.contracts.vm import VM

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT: Final = _DOCS / "contracts.md"
GUARANTEES: Final = _DOCS / "guarantees.md"
POWERS: Final = _DOCS / "adr" / "0020-who-holds-which-power-on-chain.md"
_START: Final = "<!-- measured: {name} -->"
_END: Final = "<!-- end of {name} -->"


def access_table() -> str:
    """Who may call what."""
    callers = (*CALLERS, THROUGH)
    rows = [[f"`{rule.function}`", *(str(rule.answer(one) or "yes") for one in callers)] for rule in RULES]
    return _table(("function", *callers), rows)


def cost_table(costs: Iterable[Cost]) -> str:
    """What each call costs, and how much of a block's budget its largest part is."""
    rows = []
    for one in costs:
        name, part = one.largest
        rows.append([one.what, *(f"{one.costs[each]:,}" for each in BLOCK_LIMIT), f"{part:.2%} of {name}"])
    limit = ["a block's budget", *(f"{each:,}" for each in BLOCK_LIMIT.values()), ""]
    return _table(("call", *BLOCK_LIMIT, "largest part"), [limit, *rows])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines.extend(list(row) for row in rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def part(text: str, name: str) -> str:
    """The generated part of a document between its two marks."""
    _, _, rest = text.partition(_START.format(name=name))
    inside, _, _ = rest.partition(_END.format(name=name))
    return inside.strip()


def with_parts(text: str, parts: Mapping[str, str]) -> str:
    """The document with its generated parts replaced."""
    for name, content in parts.items():
        start, end = _START.format(name=name), _END.format(name=name)
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


if __name__ == "__main__":
    with VM() as vm:
        fresh = {"access": access_table(), "costs": cost_table(measured(vm))}
        fresh["thieves"] = thieves_table(limits_of(Chain(vm).start()), CHANGE_DELAY_BLOCKS)
    for path in (DOCUMENT, GUARANTEES, POWERS):
        text = path.read_text()
        path.write_text(
            with_parts(text, {name: one for name, one in fresh.items() if _START.format(name=name) in text})
        )

"""Renders docs/policy_states.md from the transition table: `python -m services.policy.domain.states_document`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.policy.domain.transitions import (
    CORRECTIONS,
    MEANING,
    REVERSALS,
    RULES,
    TERMINAL,
    Cause,
    PolicyState,
    Rule,
)

PATH: Final = Path(__file__).parents[3] / "docs" / "policy_states.md"
_HEAD: Final = """# States of a policy

Generated from `services/policy/domain/transitions.py`; do not edit.
"""


def render() -> str:
    """The whole document: a diagram, the tables of transitions, reversals and corrections."""
    return "\n".join([_HEAD, *_diagram(), "", *_table(), "", *_reversals(), "", *_corrections(), ""])


def _diagram() -> list[str]:
    edges = dict.fromkeys((_end(rule.source), str(rule.target)) for rule in RULES)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}" for source, target in edges]
    lines += [f"    {state} --> [*]" for state in PolicyState if state in TERMINAL]
    return [*lines, "```"]


def _table() -> list[str]:
    lines = ["| from | to | who | cause | meaning |", "|---|---|---|---|---|"]
    return lines + [_row(rule) for rule in RULES]


def _row(rule: Rule) -> str:
    source = rule.source or "(none)"
    return f"| {source} | {rule.target} | {rule.actor} | {rule.cause} | {MEANING[rule.cause]} |"


def _reversals() -> list[str]:
    lines = [
        "## Reversals",
        "",
        f"Only the projector, and only when {MEANING[Cause.REORGANISED]}. Creation then stops until an operator",
        "resumes it.",
        "",
        "| from | back to |",
        "|---|---|",
    ]
    return lines + _pairs(REVERSALS)


def _corrections() -> list[str]:
    lines = [
        "## Corrections",
        "",
        f"Only by reconciliation, and only when {MEANING[Cause.PROVEN_BY_CHAIN]}.",
        "",
        "| from | back to |",
        "|---|---|",
    ]
    return lines + _pairs(CORRECTIONS)


def _pairs(states: Iterable[tuple[PolicyState, PolicyState]]) -> list[str]:
    order = list(PolicyState)
    pairs = sorted(states, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))
    return [f"| {source} | {target} |" for source, target in pairs]


def _end(state: PolicyState | None) -> str:
    return "[*]" if state is None else str(state)


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(render())

"""A rule that the contracts broke."""

from __future__ import annotations


class Violation(Exception):
    """The contracts did what their rules forbid, or not what they demand; says which."""


def require(holds: bool, rule: str) -> None:
    """Raises Violation unless the rule holds."""
    if not holds:
        raise Violation(rule)

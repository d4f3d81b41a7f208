"""Compares what two databases hold of the same things, row by row, where only a part of it must be the same.

Rows come sorted by their key, so that neither side is ever held in memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from kernel.database import Database

Row = Mapping[str, Any]
Read = Callable[["Rule"], AsyncGenerator[Row]]
# Of one rule; whoever reads a report mends the first ones first.
_MOST_DIFFERENCES: Final = 20


@dataclass(frozen=True)
class Rule:
    """One kind of row: `select` finds them, `key` (text and whole numbers) names each.

    Everything that is selected must be the same, but for the columns in `unknown`. Without a key nothing is compared:
    the rows are lost as they are. `name` is the table, with a remark where a table has several kinds of rows.
    """

    name: str
    select: str
    key: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()

    def statement(self) -> str:
        """The select, in an order that Python has too."""
        if not self.key:
            return self.select
        order = ", ".join(f'"{column}"::text COLLATE "C"' for column in self.key)
        return f"SELECT * FROM ({self.select}) AS given ORDER BY {order}"

    def key_of(self, row: Row) -> tuple[str, ...]:
        """As the database orders it."""
        return tuple(str(row[column]) for column in self.key)


@dataclass
class Comparison:
    """`differences` are lines for a person; `lost` what differs as it may: `{name}` or `{name}.{column}`."""

    rows: int = 0
    differences: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)


def reader(database: Database) -> Read:
    """Reads a rule's rows from a database."""

    async def read(rule: Rule) -> AsyncGenerator[Row]:
        async with database.engine.connect() as connection, connection.stream(sa.text(rule.statement())) as result:
            async for row in result.mappings():
                yield dict(row)

    return read


async def compare(before: Read, after: Read, rules: Sequence[Rule]) -> Comparison:
    """What differs between two books, by the rules, each of which looks at what no other does."""
    found = Comparison()
    for rule in rules:
        async with aclosing(before(rule)) as old, aclosing(after(rule)) as new:
            if rule.key:
                await _compare_rows(rule, old, new, found)
            elif await anext(old, None) is not None:
                found.lost.add(rule.name)
    return found


async def _compare_rows(rule: Rule, old: AsyncIterator[Row], new: AsyncIterator[Row], found: Comparison) -> None:
    told: list[str] = []
    mine, other = await anext(old, None), await anext(new, None)
    while mine is not None or other is not None:
        side = _side(rule, mine, other)
        if side == 0 and mine is not None and other is not None:
            _compare_row(rule, mine, other, told, found)
            found.rows += 1
        else:
            row = mine if side < 0 else other
            assert row is not None
            told.append(f"{rule.name} {' '.join(rule.key_of(row))}: {'is missing' if side < 0 else 'was not there'}")
        mine = await anext(old, None) if side <= 0 else mine
        other = await anext(new, None) if side >= 0 else other
    found.differences += told[:_MOST_DIFFERENCES]
    if len(told) > _MOST_DIFFERENCES:
        found.differences.append(f"{rule.name}: and {len(told) - _MOST_DIFFERENCES} more")


def _side(rule: Rule, mine: Row | None, other: Row | None) -> int:
    """-1: the first comes before, or alone; 1: the second; 0: they are the same row."""
    if other is None:
        return -1
    if mine is None:
        return 1
    first, second = rule.key_of(mine), rule.key_of(other)
    return (first > second) - (first < second)


def _compare_row(rule: Rule, mine: Row, other: Row, told: list[str], found: Comparison) -> None:
    for column in mine:
        if mine[column] == other[column]:
            continue
        if column in rule.unknown:
            found.lost.add(f"{rule.name}.{column}")
        else:
            said = f"{column} was {mine[column]!r}, is {other[column]!r}"
            told.append(f"{rule.name} {' '.join(rule.key_of(mine))}: {said}")

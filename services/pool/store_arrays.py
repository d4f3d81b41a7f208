"""Many rows by one statement: an array for each column, so that the text is the same whatever the number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import driver_connection

# As Postgres writes arrays: made in less than half the time that the driver takes to look at every value, and while the
# database works on something else, which what the driver makes is not.
_WRITTEN: Final = frozenset({"text", "bigint", "smallint"})


def unnest(alias: str, columns: Mapping[str, str], first: int = 1) -> str:
    """Rows of arrays, given from parameter `first` on, as a table `alias` of `columns` (name to type) and `place`."""
    arrays = ", ".join(
        f"${number}::text::{kind}[]" if kind in _WRITTEN else f"${number}::{kind}[]"
        for number, kind in enumerate(columns.values(), first)
    )
    return f"unnest({arrays}) WITH ORDINALITY AS {alias}({', '.join(columns)}, place)"


def by_column(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Rows as what `unnest` expects for each column."""
    values = list(zip(*rows, strict=True)) if rows else [() for _ in columns]
    return [
        _written(column, kind) if kind in _WRITTEN else column
        for kind, column in zip(columns.values(), values, strict=True)
    ]


def _written(column: Sequence[Any], kind: str) -> str:
    """An array literal of whole numbers or texts; None is NULL."""
    if kind != "text":
        return "{" + ",".join(["NULL" if value is None else str(value) for value in column]) + "}"
    if None not in column and column:
        joined = '","'.join(column)
        if "\\" not in joined and joined.count('"') == 2 * (len(column) - 1):
            return '{"' + joined + '"}'
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in column]) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def run(session: AsyncSession, statement: str, *values: object) -> list[asyncpg.Record]:
    """Rows of a statement, in the session's transaction, past the session: it sees what was flushed, and changes no
    object of it. IntegrityError where the database refuses, also a text or a sum that it cannot hold."""
    connection = await driver_connection(session)
    try:
        return await connection.fetch(statement, *values)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        raise IntegrityError(statement, None, error) from error

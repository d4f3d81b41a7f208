"""Many rows by one statement: an array for each column, so that the text is the same whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import driver_connection


def unnest(alias: str, columns: Mapping[str, str], first: int = 1) -> str:
    """Rows of arrays, given from parameter `first` on, as a table `alias` of `columns` (name to type) and `place`."""
    arrays = ", ".join(f"${first + number}::{kind}[]" for number, kind in enumerate(columns.values()))
    return f"unnest({arrays}) WITH ORDINALITY AS {alias}({', '.join(columns)}, place)"


def by_column(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    """Rows as an array for each column."""
    return zip(*rows, strict=True) if rows else [[] for _ in columns]


async def run(session: AsyncSession, statement: str, *values: object) -> list[asyncpg.Record]:
    """Rows of a statement, in the session's transaction, past the session: it sees what was flushed, and changes no
    object of it. IntegrityError where the database refuses, also a text or a sum that it cannot hold."""
    connection = await driver_connection(session)
    if not connection.is_in_transaction():
        # SQLAlchemy begins a transaction with the first statement that it sends itself.
        await (await session.connection()).exec_driver_sql("SELECT")
    try:
        return await connection.fetch(statement, *values)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        raise IntegrityError(statement, None, error) from error

"""The yardstick of the ledger: its entries and postings by raw asyncpg, and none of its checks."""

from __future__ import annotations

import time
from typing import Any, Final

# A turn posts so many entries by a statement, in a transaction, so many times.
ENTRIES: Final = 200
STATEMENTS: Final = 10
_TABLES: Final = ("journal_entry", "posting")


class RawInserts:
    """Entries that stand in the ledger, and their postings, by statements of many rows."""

    def __init__(self, connection: Any, statements: list[list[tuple[str, list[Any]]]]) -> None:
        self._connection = connection
        self._statements = statements

    @classmethod
    async def of_posted(cls, connection: Any) -> RawInserts:
        """Into tables like ours, with their indexes; the rows are the entries of policies that ended, as many as a turn
        of ours posts."""
        statements: list[list[tuple[str, list[Any]]]] = [[] for _ in range(STATEMENTS)]
        where = "(SELECT id FROM pool.journal_entry WHERE kind IN ('POLICY_EXPIRED', 'POLICY_SETTLED'))"
        for table, key in zip(_TABLES, ("id", "entry_id"), strict=True):
            await connection.execute(f"CREATE TABLE {table}_copy (LIKE pool.{table} INCLUDING ALL)")
            rows = await connection.fetch(f"SELECT * FROM pool.{table} WHERE {key} IN {where} ORDER BY id")
            size = -(-len(rows) // STATEMENTS)
            for number in range(STATEMENTS):
                part = rows[number * size : (number + 1) * size]
                statements[number].append(_insert(f"{table}_copy", part))
        return cls(connection, statements)

    async def per_second(self) -> float:
        """Entries per second into the emptied tables."""
        await self._connection.execute("TRUNCATE " + ", ".join(f"{table}_copy" for table in _TABLES))
        start = time.perf_counter()
        for inserts in self._statements:
            async with self._connection.transaction():
                for statement, values in inserts:
                    await self._connection.execute(statement, *values)
        return ENTRIES * STATEMENTS / (time.perf_counter() - start)


def _insert(table: str, rows: Any) -> tuple[str, list[Any]]:
    names = list(rows[0].keys())
    places = ", ".join(
        "(" + ", ".join(f"${row * len(names) + column + 1}" for column in range(len(names))) + ")"
        for row in range(len(rows))
    )
    columns, values = ", ".join(names), [value for row in rows for value in row.values()]
    return f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES {places}", values

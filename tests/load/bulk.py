"""Fast filling of tables: their keys, indexes and foreign keys are made once, at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

# Foreign keys need the keys that they refer to: they go first, and come back last.
_CONSTRAINTS: Final = """
SELECT conrelid::regclass::text AS relation, conname AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype IN ('f', 'p', 'u') AND conrelid = ANY($1::text[]::regclass[])
ORDER BY contype = 'f' DESC, conname
"""
_INDEXES: Final = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[])
AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
"""


@asynccontextmanager
async def filling(connection: Connection, tables: Sequence[str]) -> AsyncIterator[None]:
    """A transaction in which some tables have no triggers, keys, indexes and foreign keys.

    At its end all of them are as they were: what was filled in is checked in one go, or refused as a whole. What
    triggers would have derived is for the caller to derive.
    """
    async with connection.transaction():
        constraints = await connection.fetch(_CONSTRAINTS, list(tables))
        indexes = await connection.fetch(_INDEXES, list(tables))
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for row in constraints:
            await connection.execute(f"ALTER TABLE {row['relation']} DROP CONSTRAINT {row['name']}")
        for row in indexes:
            await connection.execute(f"DROP INDEX {row['name']}")
        yield
        await connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        for row in indexes:
            await connection.execute(row["definition"])
        for row in reversed(constraints):
            await connection.execute(f"ALTER TABLE {row['relation']} ADD CONSTRAINT {row['name']} {row['definition']}")
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    for table in tables:
        await connection.execute(f"VACUUM ANALYZE {table}")

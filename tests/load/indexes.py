"""Fast filling of a table: its secondary indexes are built once, at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

_SECONDARY = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[]) AND NOT indisprimary
AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
"""


@asynccontextmanager
async def without_indexes(connection: Connection, tables: Sequence[str]) -> AsyncIterator[None]:
    """Drops the secondary indexes of some tables, and builds them again as they were."""
    found = await connection.fetch(_SECONDARY, list(tables))
    for row in found:
        await connection.execute(f"DROP INDEX {row['name']}")
    yield
    await connection.execute("SET maintenance_work_mem = '256MB'")
    for row in found:
        await connection.execute(row["definition"])

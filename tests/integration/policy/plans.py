"""What the planner makes of the statements that a piece of code issues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import sqlalchemy as sa

from kernel.database import Database

# Of statements that are prepared Postgres may use one plan for all values: it must be as good.
_GENERIC: Final = """
CREATE FUNCTION pg_temp.generic_plan(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE found json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, GENERIC_PLAN) ' || statement INTO found;
    RETURN found;
END $$
"""
_VERBS: Final = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")


@dataclass
class Statements:
    """Statements as they went to the server, with their values."""

    issued: list[tuple[str, Sequence[Any]]] = field(default_factory=list)

    def note(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        """A listener of the engine's."""
        if statement.lstrip().upper().startswith(_VERBS):
            self.issued.append((statement, parameters[0] if many else parameters))


@contextmanager
def noting(database: Database) -> Iterator[Statements]:
    """Notes what is sent to the database meanwhile."""
    statements, engine = Statements(), database.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", statements.note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", statements.note)


async def scanned(url: str, statements: Statements) -> dict[str, list[str]]:
    """By statement, the tables that a plan for its values, or one for any values, reads from end to end."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_GENERIC)
        found: dict[str, list[str]] = {}
        for statement, values in statements.issued:
            own = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
            generic = await connection.fetchval("SELECT pg_temp.generic_plan($1)", statement)
            tables = [table for plan in (own, generic) for table in _sequential(json.loads(plan)[0]["Plan"])]
            if tables:
                found[statement] = tables
        return found
    finally:
        await connection.close()


def _sequential(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _sequential(child)

"""What the planner makes of the statements that a piece of code issues."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, driver_connection

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

    def note_query(self, query: asyncpg.connection.LoggedQuery) -> None:
        """A listener of the driver's, which hears what goes past the engine, and the driver's own look at types."""
        if query.query.lstrip().upper().startswith(_VERBS) and "typeinfo_tree" not in query.query:
            # Of one that is made for many rows the driver tells of all of them.
            many = isinstance(query.args, list)
            self.issued.append((query.query, query.args[0] if many else query.args))


@contextmanager
def noting(database: Database) -> Iterator[Statements]:
    """Notes what is sent to the database meanwhile."""
    statements, engine = Statements(), database.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", statements.note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", statements.note)


def functions_of(stores: Iterable[ModuleType]) -> list[str]:
    """Every coroutine that these modules offer, as `module.function`."""
    return [
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in stores
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


async def sent(database: Database, calls: Callable[[AsyncSession], Iterable[Awaitable[Any]]]) -> Statements:
    """What some calls send, through the engine and past it; of what they do in the session nothing stays."""
    with noting(database) as statements:
        async with AsyncSession(database.engine) as session:
            driver = await driver_connection(session)
            driver.add_query_logger(statements.note_query)
            for call in calls(session):
                await call
            await session.flush()
            driver.remove_query_logger(statements.note_query)
            await session.rollback()
    return statements


async def scanned(url: str, statements: Statements, *, any_values: bool = True) -> dict[str, list[str]]:
    """By statement, the tables that a plan for its values, or one for `any_values`, may read from end to end."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_GENERIC)
        indexes = {name: Index(*rest) for name, *rest in await connection.fetch(_INDEXES)}
        found: dict[str, list[str]] = {}
        for statement, values in statements.issued:
            own = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
            plans = [own]
            if any_values:
                plans.append(await connection.fetchval("SELECT pg_temp.generic_plan($1)", statement))
            tables = [table for plan in plans for table in walked(json.loads(plan)[0]["Plan"], indexes)]
            if tables:
                found[statement] = tables
        return found
    finally:
        await connection.close()


async def filtered(url: str, statements: Statements) -> int:
    """How many rows selects read only to leave them out."""
    connection = await asyncpg.connect(url)
    try:
        plans = [
            await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
            for statement, values in statements.issued
        ]
    finally:
        await connection.close()
    return sum(_left_out(json.loads(plan)[0]["Plan"]) for plan in plans)


def _left_out(node: dict[str, Any]) -> int:
    own = round(float(node.get("Rows Removed by Filter", 0)) * float(node["Actual Loops"]))
    return own + sum(map(_left_out, node.get("Plans", ())))


@dataclass(frozen=True)
class Index:
    """An index as far as it matters how much of it is read: the table, the first column of which more than some values
    are known, empty where there is none, and whether by its own condition it holds few of the table's rows."""

    table: str
    key_column: str
    is_small: bool


# A feed, a tier, a token or a state narrows nothing down: what follows it has to.
_INDEXES: Final = """
SELECT own.relname, of.relname,
    coalesce((SELECT attname FROM pg_attribute WHERE attrelid = own.oid AND NOT EXISTS (
        SELECT FROM pg_stats known WHERE schemaname = of.relnamespace::regnamespace::name AND tablename = of.relname
        AND known.attname = pg_attribute.attname AND n_distinct BETWEEN 1 AND 10
    ) ORDER BY attnum LIMIT 1), ''),
    indpred IS NOT NULL AND own.reltuples >= 0 AND own.reltuples * 20 <= of.reltuples
FROM pg_index JOIN pg_class own ON own.oid = indexrelid JOIN pg_class of ON of.oid = indrelid
"""
_INDEX_SCANS: Final = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
# In the planner's units: a range with so few rows, as a cursor near the end leaves, is read whole by whatever index.
_CHEAP: Final = 100
# Each row that these are given they pass on.
_PASSING: Final = ("LockRows", "Subquery Scan", "Append", "Merge Append", "Result")


def walked(node: dict[str, Any], indexes: Mapping[str, Index], *, is_page: bool = False) -> Iterator[str]:
    """The tables that a plan may read from end to end, also along an index.

    A scan is good that looks for values of its index's key column or between two of them, or uses an index that
    holds little; so are a range with few rows, and a walk along an index that a LIMIT ends (`is_page`) where nothing
    on the way can discard rows.
    """
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield node["Relation Name"]
    elif kind in _INDEX_SCANS:
        index = indexes[node["Index Name"]]
        if not (index.is_small or _is_narrow(node, index) or (is_page and "Filter" not in node)):
            yield index.table
    for child in node.get("Plans", ()):
        passes = kind in _PASSING and "Filter" not in node
        outer = kind == "Nested Loop" and node["Join Type"] == "Left" and child["Parent Relationship"] == "Outer"
        yield from walked(child, indexes, is_page=kind == "Limit" or (is_page and (passes or outer)))


def _is_narrow(node: dict[str, Any], index: Index) -> bool:
    """True if the condition is met by one value of the key column, by some, by those between two, or hardly ever."""
    named = rf"\b{re.escape(index.key_column)}\b\)?(::[\w ]+)?"
    condition = node.get("Index Cond", "") if index.key_column else ""
    if re.search(rf"{named} = ", condition) or (condition and node["Total Cost"] <= _CHEAP):
        return True
    return bool(condition) and all(re.search(rf"{named} {side}=? ", condition) for side in "<>")
